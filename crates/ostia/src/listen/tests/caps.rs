//! How many connections are accepted, and on which sockets.

use std::net::IpAddr;
use std::sync::Arc;

use ostia_core::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::super::options::Full;
use super::super::{Drain, Listener, Options, serve};
use super::{Acting, Gateway, echo, options, status, text};
use crate::runtime;
use crate::settings::ListenAddress;

#[tokio::test]
async fn one_connection_too_many_is_refused() {
    let options = Options {
        max_connections: 2,
        ..options()
    };
    let gateway = Gateway::start(options, echo).await;
    let (mut first, mut second) = (gateway.connect().await, gateway.connect().await);
    for client in [&mut first, &mut second] {
        client.get("/").await;
        client.read_until("/ 0").await;
    }
    let bytes = gateway.talk("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(status(&bytes), 503);
    assert!(text(&bytes).contains("\r\nx-request-id: "));
    assert!(text(&bytes).contains("\r\nretry-after: 1\r\n"));
    assert_eq!(gateway.connections.refused(), 1);
    assert_eq!(gateway.connections.open(), 2);

    drop((first, second));
    gateway.until_none_is_open().await;
    let bytes = gateway
        .talk("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&bytes), 200);
}

#[test]
fn an_address_has_its_share_and_never_all() {
    let options = Options {
        max_connections: 10,
        connections_per_address: 100,
        trusted_proxies: vec!["192.0.2.9".parse::<IpAddr>().unwrap().into()],
        ..options()
    };
    let connections = &options.connections;
    let enter = |ip: &str| {
        let ip: IpAddr = ip.parse().unwrap();
        connections.enter(&connections.guest(ip), ip, &options)
    };
    let fill = |ip: &str| {
        let mut open = Vec::new();
        loop {
            match enter(ip) {
                Ok(one) => open.push(one),
                Err(full) => return (open, full),
            }
        }
    };
    let (one, full) = fill("2001:db8::1");
    assert_eq!((one.len(), full), (5, Full::Address));
    assert_eq!(fill("2001:db8::2").0.len(), 0);
    let (two, full) = fill("192.0.2.1");
    assert_eq!((two.len(), full), (5, Full::Address));
    assert_eq!(fill("198.51.100.1").1, Full::All);
    drop((one, two));
    for spared in ["127.0.0.1", "192.0.2.9"] {
        let (all, full) = fill(spared);
        assert_eq!((all.len(), full), (10, Full::All), "{spared}");
    }
    assert_eq!(connections.open(), 0);
}

/// An incomplete head occupies memory that is counted: a client that opens many uses up its share.
#[tokio::test]
async fn heads_that_never_end_are_bounded() {
    let gateway = Gateway::start(options(), echo).await;
    let begun = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(60 * 1024));
    let mut held = Vec::new();
    // 64 MiB for all heads. Each counts twice its length, and the first 8 KiB are free.
    let most = 64 * 1024 / (2 * (60 - 8)) + 1;
    for _ in 0..most + 20 {
        let mut client = gateway.connect().await;
        client.send(&begun).await;
        held.push(client);
    }
    while gateway.connections.open() > most {
        tokio::task::yield_now().await;
    }
    assert!(gateway.connections.open() > most / 2);
    // Heads of usual size still fit.
    let bytes = gateway
        .talk("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&bytes), 200);
    drop(held);
    gateway.until_none_is_open().await;
}

#[tokio::test]
async fn a_unix_socket_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ostia.sock");
    let _listener = Listener::bind(&ListenAddress::Unix(path.clone()))
        .await
        .unwrap();
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_unix_socket_serves_and_goes_with_its_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ostia.sock");
    let address = ListenAddress::Unix(path.clone());
    // Left behind by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = Listener::bind(&address).await.unwrap();
    assert!(Listener::bind(&address).await.is_err());

    let drain = Drain::new();
    let serving = runtime::spawn(serve(
        listener,
        options().swappable(),
        Arc::new(Acting(|inbound: super::Inbound| async {
            assert!(inbound.peer_ip.is_loopback());
            echo(inbound).await
        })),
        drain.clone(),
        Arc::new(SystemClock),
    ));
    let mut client = UnixStream::connect(&path).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(status(&bytes), 200);
    drain.begin();
    serving.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let bound = Listener::bind(&ListenAddress::Unix(path.clone())).await;
    assert!(bound.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}
