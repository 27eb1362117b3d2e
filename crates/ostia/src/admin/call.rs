//! How commands call the gateway that uses a state folder on this machine.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use ostia_core::Secret;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::token::published;

/// The gateway answers within milliseconds, unless it reloads very many files.
const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST: usize = 64 << 20;

/// What the gateway answered.
#[derive(Debug)]
pub struct AdminAnswer {
    pub status: StatusCode,
    /// Null if the body is not JSON.
    pub value: Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("no gateway runs with this state folder")]
    NotRunning,
    #[error("{0} belongs to another user: run this as the gateway's user")]
    NotAllowed(String),
    #[error("the gateway does not answer: {0}")]
    Failed(String),
}

/// Calls the gateway of a state folder with the token that it wrote there.
pub async fn call(
    state_dir: &Path,
    method: Method,
    path_and_query: &str,
    body: Option<&Value>,
) -> Result<AdminAnswer, CallError> {
    let (address, token) = published(state_dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CallError::NotRunning,
        io::ErrorKind::PermissionDenied => CallError::NotAllowed(state_dir.display().to_string()),
        _ => CallError::Failed(error.to_string()),
    })?;
    let request = request(method, path_and_query, &token, body).map_err(failed)?;
    let calling = async {
        match address.strip_prefix("unix:") {
            Some(path) => {
                let socket = UnixStream::connect(path).await.map_err(not_connected)?;
                send(socket, request).await
            }
            None => {
                let socket = TcpStream::connect(&address).await.map_err(not_connected)?;
                send(socket, request).await
            }
        }
    };
    let late = |_| CallError::Failed(format!("it took longer than {} s", PATIENCE.as_secs()));
    timeout(PATIENCE, calling).await.map_err(late)?
}

fn request(
    method: Method,
    path_and_query: &str,
    token: &Secret<String>,
    body: Option<&Value>,
) -> http::Result<Request<Full<Bytes>>> {
    let body = body.map(Value::to_string).unwrap_or_default();
    Request::builder()
        .method(method)
        .uri(path_and_query)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .header(AUTHORIZATION, format!("Bearer {}", token.expose()))
        .body(Full::from(body))
}

async fn send<S>(socket: S, request: Request<Full<Bytes>>) -> Result<AdminAnswer, CallError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(socket)).await.map_err(failed)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| CallError::Failed(error.to_string()))?;
        Ok(AdminAnswer {
            status,
            value: serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
        })
    };
    tokio::pin!(asking);
    // The connection is driven in this task, so nothing is left running when the call ends.
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        ended = connection => match ended {
            Ok(()) => asking.await,
            Err(error) => Err(failed(error)),
        },
    }
}

/// If nobody listens, the files were left by a process that was killed.
fn not_connected(error: io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => CallError::NotRunning,
        _ => failed(error),
    }
}

fn failed(error: impl std::fmt::Display) -> CallError {
    CallError::Failed(error.to_string())
}
