use ostia_core::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use super::backend::{Backend, Peer};
use super::tls::Authority;
use super::{OK, call, client, fail, outgoing, plain, soon, target};
use crate::catalog::{Proxy, Scheme, Target};
use crate::upstream::FailureKind;

/// What a SOCKS server was asked: user and password, host and port.
type Asked = tokio::sync::mpsc::UnboundedSender<(Option<(String, String)>, String, u16)>;

/// RFC 1928 and 1929, as far as a test needs them. The tunnel always leads to `end` on loopback.
async fn serve(mut peer: Peer, end: u16, asked: Asked) -> Option<()> {
    let socket = &mut peer.socket;
    let (version, methods) = (socket.read_u8().await.ok()?, texts(socket).await?);
    assert_eq!(version, 5);
    let wants_password = methods.contains(&2);
    socket
        .write_all(&[5, if wants_password { 2 } else { 0 }])
        .await
        .ok()?;
    let mut user = None;
    if wants_password {
        assert_eq!(socket.read_u8().await.ok()?, 1);
        let (name, password) = (texts(socket).await?, texts(socket).await?);
        user = Some((
            String::from_utf8(name).ok()?,
            String::from_utf8(password).ok()?,
        ));
        socket.write_all(&[1, 0]).await.ok()?;
    }
    let mut head = [0; 4];
    socket.read_exact(&mut head).await.ok()?;
    let host = match head[3] {
        1 => std::net::Ipv4Addr::from(socket.read_u32().await.ok()?).to_string(),
        3 => String::from_utf8(texts(socket).await?).ok()?,
        other => panic!("address type {other}"),
    };
    let port = socket.read_u16().await.ok()?;
    let refused = host == "refused.test";
    asked.send((user, host, port)).ok()?;
    let reply = [5, u8::from(refused) * 5, 0, 1, 0, 0, 0, 0, 0, 0];
    socket.write_all(&reply).await.ok()?;
    if refused {
        return None;
    }
    let mut far = TcpStream::connect(("127.0.0.1", end)).await.ok()?;
    copy_bidirectional(socket, &mut far).await.ok()?;
    Some(())
}

/// Strings, each preceded by its length in one byte.
async fn texts(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut text = vec![0; usize::from(socket.read_u8().await.ok()?)];
    socket.read_exact(&mut text).await.ok()?;
    Some(text)
}

async fn proxy(
    end: u16,
) -> (
    Backend,
    tokio::sync::mpsc::UnboundedReceiver<(Option<(String, String)>, String, u16)>,
) {
    let (tell, asked) = tokio::sync::mpsc::unbounded_channel();
    let proxy = Backend::start(move |_, peer| {
        let tell = tell.clone();
        async move {
            serve(peer, end, tell).await;
        }
    });
    (proxy.await, asked)
}

fn through(target: Target, proxy: &Backend, user: &str) -> Target {
    let url = format!("socks5h://{user}127.0.0.1:{}", proxy.port);
    Target {
        proxy: Proxy::Url(Secret::new(url)),
        ..target
    }
}

#[tokio::test]
async fn a_socks_proxy_resolves_the_name_and_tunnels_what_is_clear_too() {
    let backend = Backend::answering(OK).await;
    let (proxy, mut asked) = proxy(backend.port).await;
    // No resolver knows this name.
    let unknown = target(Scheme::Http, "only-the-proxy-knows.invalid", 8000);
    let clients = client(&through(unknown, &proxy, ""));
    for _ in 0..2 {
        assert_eq!(soon(call(&clients)).await, (200, "ok".into(), 1));
    }
    let expected = (None, "only-the-proxy-knows.invalid".to_owned(), 8000);
    assert_eq!(asked.recv().await.unwrap(), expected);
    // The connection is kept.
    assert_eq!((proxy.accepted(), backend.accepted()), (1, 1));

    let clients = client(&through(plain(&backend), &proxy, "us%65r:p%40ss@"));
    assert_eq!(soon(call(&clients)).await, (200, "ok".into(), 1));
    let user = Some(("user".to_owned(), "p@ss".to_owned()));
    assert_eq!(
        asked.recv().await.unwrap(),
        (user, "127.0.0.1".to_owned(), backend.port)
    );
}

#[tokio::test]
async fn tls_goes_through_the_tunnel() {
    let authority = Authority::new();
    let backend = super::tls::backend(&authority, "model.test", false).await;
    let (proxy, _asked) = proxy(backend.port).await;
    let clients = client(&through(authority.target(&backend), &proxy, ""));
    assert_eq!(soon(call(&clients)).await, (200, "ok".into(), 1));
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_makes_the_backend_unreachable() {
    let (proxy, _asked) = proxy(9).await;
    let refused = through(
        target(Scheme::Http, "refused.test", 80),
        &proxy,
        "u:hunter2@",
    );
    let (failure, _) = soon(fail(&client(&refused), outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.retry_safe && failure.sends == 0);
    assert!(
        failure.detail.contains("proxy") && !failure.detail.contains("hunter2"),
        "{}",
        failure.detail
    );
}
