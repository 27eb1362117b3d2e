use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ostia::runtime::spawn;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::request::{Recorded, Reply};
use crate::failure::Failure;
use crate::table::printable;

/// Where the gateway reads the model's state.
pub(super) const STATE_PATH: &str = "/ostia-adapter-test-state";
/// Stands for the endpoint's key.
pub(super) const KEY: &str = "KEY-OF-THE-ENDPOINT";
/// The gateway limits bodies itself.
const LONGEST: usize = 64 << 20;

/// Stands in for everything that a script and its backend call. Only the gateway in this process connects to it, with
/// one request per connection.
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: JoinHandle<()>,
}

/// A request that arrived.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    method: String,
    path: String,
    /// Without the headers that HTTP itself needs.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    status: u16,
}

/// How to answer.
struct Plan {
    http: BTreeMap<String, Reply>,
    answer: Option<Reply>,
    state: Value,
}

impl Recorder {
    pub(super) async fn start(recorded: &Recorded) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::other(format!("a loopback port: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let model = recorded.model();
        let plan = Arc::new(Plan {
            http: recorded.http.clone(),
            answer: recorded.answer.clone(),
            state: json!({"model": {"status": recorded.state, "model": model}}),
        });
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let all = Arc::clone(&seen);
        let serving = spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let (plan, seen) = (Arc::clone(&plan), Arc::clone(&all));
                spawn(async move {
                    // A caller that hangs up needs no answer.
                    let _ = answer(stream, &plan, &seen).await;
                });
            }
        });
        Ok(Self {
            address,
            seen,
            serving,
        })
    }

    /// In the order of arrival.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Seen {
    /// Whether it is the client's request and not a call that the script made. Only the client's has a request id from
    /// the gateway.
    pub(super) fn is_request(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == "x-request-id")
    }

    pub(super) fn line(&self) -> String {
        let Self {
            method,
            path,
            status,
            ..
        } = self;
        format!("{method} {path}, and got {status}")
    }

    /// The request as sent, without the endpoint's key.
    pub(super) fn whole(&self) -> String {
        let mut text = format!("{} {}\n", self.method, self.path);
        for (name, value) in &self.headers {
            let value = value.replace(KEY, "[the endpoint's key]");
            let _ = writeln!(text, "{name}: {}", printable(&value));
        }
        let body = String::from_utf8_lossy(&self.body);
        let _ = writeln!(text, "\n{body}");
        text
    }

    fn wants_stream(&self) -> bool {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["stream"] == true
    }
}

async fn answer(mut stream: TcpStream, plan: &Plan, all: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let Some(mut seen) = read(&mut stream).await? else {
        return Ok(());
    };
    let (status, headers, body) = plan.reply(&seen);
    seen.status = status;
    if !seen.path.starts_with(STATE_PATH) {
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(seen);
    }
    let mut head = format!("HTTP/1.1 {status} \r\nconnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// `None`: it broke off, or did not come from the gateway.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Seen>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let Some((mut seen, length)) = parse(&bytes[..head]) else {
        return Ok(None);
    };
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    seen.body = bytes[head..head + length].to_vec();
    Ok(Some(seen))
}

/// The head, and the length of the body.
fn parse(head: &[u8]) -> Option<(Seen, usize)> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let mut seen = Seen {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        ..Seen::default()
    };
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        match name.as_str() {
            "content-length" => length = value.parse().ok().filter(|count| *count <= LONGEST)?,
            "host" | "connection" => {}
            _ => seen.headers.push((name, value)),
        }
    }
    Some((seen, length))
}

impl Plan {
    fn reply(&self, seen: &Seen) -> (u16, Vec<(String, String)>, String) {
        let path = seen.path.split('?').next().unwrap_or_default();
        if path == STATE_PATH {
            return written(&Reply {
                body: self.state.clone(),
                ..Reply::default()
            });
        }
        let wanted = [
            format!("{} {}", seen.method, seen.path),
            format!("{} {path}", seen.method),
        ];
        if let Some(reply) = wanted.iter().find_map(|name| self.http.get(name)) {
            return written(reply);
        }
        match &self.answer {
            Some(reply) if seen.is_request() => written(reply),
            None if seen.is_request() => written(&usual(seen.wants_stream())),
            _ => written(&Reply {
                status: Some(404),
                body: json!({"error": {"message": format!("no answer to `{}` was recorded", wanted[1])}}),
                ..Reply::default()
            }),
        }
    }
}

fn written(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let (kind, body) = match &reply.body {
        Value::String(text) if text.starts_with("data:") => ("text/event-stream", text.clone()),
        Value::String(text) => ("text/plain", text.clone()),
        other => ("application/json", other.to_string()),
    };
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), value.into_owned())
        })
        .collect();
    if !reply.headers.contains_key(http::header::CONTENT_TYPE) {
        headers.push(("content-type".to_owned(), kind.to_owned()));
    }
    (reply.status.unwrap_or(200), headers, body)
}

/// A backend's answer to a chat if none was recorded.
fn usual(stream: bool) -> Reply {
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    let body = if stream {
        let delta = json!({"choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}], "usage": usage});
        Value::from(format!("data: {delta}\n\ndata: [DONE]\n\n"))
    } else {
        let message = json!({"role": "assistant", "content": "Hello."});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        json!({"object": "chat.completion", "choices": [choice], "usage": usage})
    };
    Reply {
        body,
        ..Reply::default()
    }
}
