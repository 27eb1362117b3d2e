//! The browser on this machine delivers the code to a port that only this attempt listens on (RFC 8252 section 7.3).

use std::time::Duration;

use ostia::identify::Web;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::authority::{Authority, Grant};
use super::browser;
use super::code::Try;
use crate::failure::Failure;
use crate::output::note;

const PATIENCE: Duration = Duration::from_secs(600);
const ONE_REQUEST: Duration = Duration::from_secs(10);
const LONGEST_HEAD: usize = 16 * 1024;

/// A request to the port.
#[derive(Debug, PartialEq, Eq)]
enum Visit {
    Code(String),
    /// The issuer's error.
    Refused(String),
    /// Anything else: a favicon, the answer to another attempt, a guess.
    Stranger,
}

pub(super) async fn sign_in(
    web: &dyn Web,
    authority: &Authority,
    ask: &Grant<'_>,
) -> Result<Value, Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("a loopback port: {error}"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let this = Try::new(&format!("http://127.0.0.1:{port}/callback"))?;
    note("Open this address in a browser on this machine, and sign in:");
    browser::open(&this.address(authority, ask)?, ask.browser);
    let waiting = tokio::time::timeout(PATIENCE, wait(&listener, &this.state));
    let code = waiting
        .await
        .map_err(|_| Failure::other("nobody signed in within ten minutes"))??;
    this.redeem(web, authority, ask, &code).await
}

async fn wait(listener: &TcpListener, state: &str) -> Result<String, Failure> {
    loop {
        // Browsers open connections in advance and may leave them idle, so each has a time limit of its own.
        let Ok((mut stream, _)) = listener.accept().await else {
            continue;
        };
        let head = tokio::time::timeout(ONE_REQUEST, read_head(&mut stream)).await;
        let visit = head
            .ok()
            .flatten()
            .map_or(Visit::Stranger, |head| visit(&head, state));
        let (status, text) = match &visit {
            Visit::Code(_) => ("200 OK", "Signed in. You may close this page."),
            Visit::Refused(_) => ("200 OK", "The sign-in was refused. See the terminal."),
            Visit::Stranger => ("404 Not Found", "There is nothing here."),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
            text.len()
        );
        // It does not matter whether the browser reads the page, once the code is here.
        let _ = stream.write_all(answer.as_bytes()).await;
        match visit {
            Visit::Code(code) => return Ok(code),
            Visit::Refused(error) => {
                let shown = error.escape_debug();
                return Err(Failure::other(format!("the issuer refuses: {shown}")));
            }
            Visit::Stranger => {}
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = stream
            .read(&mut piece)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        head.extend_from_slice(&piece[..count]);
        if head.len() > LONGEST_HEAD {
            return None;
        }
    }
    String::from_utf8(head).ok()
}

fn visit(head: &str, state: &str) -> Visit {
    let target = head
        .strip_prefix("GET /callback?")
        .and_then(|rest| rest.split(' ').next());
    let Some(query) = target else {
        return Visit::Stranger;
    };
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(query.as_bytes());
        let found = fields.find(|(found, _)| found == name);
        found.map(|(_, value)| value.into_owned())
    };
    if field("state").as_deref() != Some(state) {
        return Visit::Stranger;
    }
    match (field("code"), field("error")) {
        (_, Some(error)) => Visit::Refused(error),
        (Some(code), None) if !code.is_empty() => Visit::Code(code),
        _ => Visit::Stranger,
    }
}

#[cfg(test)]
mod tests {
    use super::{Visit, visit};

    #[test]
    fn only_this_try_s_answer_counts() {
        let head =
            |query: &str| format!("GET /callback?{query} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        let of = |query: &str| visit(&head(query), "word");
        assert_eq!(
            of("code=a%2Fb+c&state=word"),
            Visit::Code("a/b c".to_owned())
        );
        assert_eq!(
            of("error=access_denied&state=word"),
            Visit::Refused("access_denied".to_owned())
        );
        for query in [
            "code=a",
            "code=a&state=other",
            "code=a&state=",
            "state=word",
            "code=&state=word",
            "code&state=word",
            "",
        ] {
            assert_eq!(of(query), Visit::Stranger, "{query}");
        }
        assert_eq!(
            visit("GET /favicon.ico HTTP/1.1\r\n\r\n", "word"),
            Visit::Stranger
        );
        assert_eq!(
            visit("POST /callback?code=a&state=word HTTP/1.1\r\n\r\n", "word"),
            Visit::Stranger
        );
    }
}
