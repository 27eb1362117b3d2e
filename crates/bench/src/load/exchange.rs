//! One connection, and one request with its answer.

use super::report::Tally;
use super::request::Template;
use crate::sse::Checker;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::TcpStream;

/// A connection that is reopened if the other side has closed it.
pub struct Connection {
    addr: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
    pub opened: u64,
}

/// Why a request failed, in a few words. Failures are counted by this text.
pub type Failure = String;

impl Connection {
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            sender: None,
            opened: 0,
        }
    }

    /// Sends the request and waits for the head of the answer. A connection that failed is not reused.
    pub async fn send(&mut self, template: &Template) -> Result<Response<Incoming>, Failure> {
        let mut sender = self.ready().await?;
        let answer = sender
            .send_request(template.request())
            .await
            .map_err(|error| format!("no answer: {error}"))?;
        self.sender = Some(sender);
        Ok(answer)
    }

    async fn ready(&mut self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = TcpStream::connect(self.addr)
            .await
            .map_err(|error| format!("connect: {}", error.kind()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| format!("connect: {}", error.kind()))?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("connect: {error}"))?;
        tokio::task::spawn_local(driver);
        self.opened += 1;
        Ok(sender)
    }
}

/// Sends one request and reads its whole answer. The clock starts at `due` if the request had to wait for a free
/// connection, otherwise when it is sent.
pub async fn exchange(
    connection: &mut Connection,
    template: &Template,
    tally: &RefCell<Tally>,
    due: Option<Instant>,
) {
    let start = due.unwrap_or_else(Instant::now);
    let outcome = match connection.send(template).await {
        Err(failure) => Err(failure),
        Ok(answer) if answer.status() != StatusCode::OK => refused(answer).await,
        Ok(answer) if template.stream => stream(answer.into_body(), template, tally, start).await,
        Ok(answer) => whole(answer.into_body(), tally).await,
    };
    if outcome.is_err() {
        // The connection may still carry the rest of an answer that was given up.
        connection.sender = None;
    }
    tally.borrow_mut().ended(start.elapsed(), outcome);
}

async fn refused(answer: Response<Incoming>) -> Result<(), Failure> {
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
    Err(format!("status {}: {}", status.as_u16(), text.trim()))
}

async fn whole(mut body: Incoming, tally: &RefCell<Tally>) -> Result<(), Failure> {
    let (mut bytes, mut last) = (0, None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("answer cut: {error}"))?;
        if let Some(data) = frame.data_ref() {
            bytes += data.len() as u64;
            last = data.last().copied().or(last);
        }
    }
    tally.borrow_mut().bytes += bytes;
    // hyper checks lengths. This detects answers that are not the mock's JSON.
    if last == Some(b'}') {
        Ok(())
    } else {
        Err("answer is not JSON".into())
    }
}

async fn stream(
    mut body: Incoming,
    template: &Template,
    tally: &RefCell<Tally>,
    start: Instant,
) -> Result<(), Failure> {
    let mut checker = Checker::default();
    let mut last: Option<Instant> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("stream cut: {error}"))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let now = Instant::now();
        let chunks = checker.feed(data);
        let mut tally = tally.borrow_mut();
        tally.bytes += data.len() as u64;
        tally.chunks(chunks, now, last, start);
        if chunks > 0 {
            last = Some(now);
        }
    }
    checker
        .finish(template.chunks)
        .map_err(|fault| format!("stream: {fault}"))
}
