//! In: bytes that a test wants to send, sound or not.
//! Out: what came back, piece by piece, and how it ended.
//! Not here: retries, pools, redirects, anything that would hide what happened.
//!
//! ```no_run
//! # async fn example(address: std::net::SocketAddr) {
//! use ostia_testkit::client::{RawClient, Request};
//!
//! let mut client = RawClient::connect(address).await;
//! let request = Request::post("/v1/chat/completions").bearer("key").json(&serde_json::json!({"model": "m"}));
//! let answer = client.call(&request).await;
//! assert_eq!(answer.status(), 200);
//! # }
//! ```

mod request;
mod sse;

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use crate::patience::within;
use crate::wire::{Body, Cut, Fields, Framing, Head, Wire};

pub use request::Request;
pub use sse::{Event, parse};

/// One connection. Everything it waits for must come within [`crate::patience::PATIENCE`].
#[derive(Debug)]
pub struct RawClient {
    wire: Wire,
}

/// How a message ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// As its framing says it should.
    Complete,
    /// The connection was closed in an orderly way, but too early.
    Fin,
    /// The connection was reset, too early.
    Reset,
    /// What came breaks HTTP/1.1.
    Malformed(String),
}

/// How to hang up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    Fin,
    Reset,
}

/// A final answer and everything around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub head: Head,
    /// Answers before the final one (1xx), in order.
    pub interim: Vec<Head>,
    pub body: Bytes,
    pub trailers: Fields,
    pub ended: Ended,
}

/// The body of an answer, while it comes.
#[derive(Debug)]
pub struct Reading {
    pub head: Head,
    pub interim: Vec<Head>,
    body: Body,
}

impl RawClient {
    pub async fn connect(address: SocketAddr) -> Self {
        let connecting = Wire::connect(address);
        let wire = within(|| format!("a connection to {address}"), connecting)
            .await
            .unwrap();
        Self { wire }
    }

    /// The same for a peer that may be gone.
    pub async fn try_connect(address: SocketAddr) -> Option<Self> {
        let connecting = Wire::connect(address);
        let wire = within(|| format!("a connection to {address}"), connecting).await;
        wire.ok().map(|wire| Self { wire })
    }

    /// A client with a small receive window: together with [`Self::take`], a slow reader.
    pub async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Below the loopback's segment size (64 KiB) the kernels would trickle by their timers.
        socket.set_recv_buffer_size(128 << 10).unwrap();
        let connecting = socket.connect(address);
        let stream = within(|| format!("a connection to {address}"), connecting)
            .await
            .unwrap();
        Self {
            wire: Wire::new(stream),
        }
    }

    pub fn local_address(&self) -> SocketAddr {
        self.wire.stream.local_addr().unwrap()
    }

    /// Sends bytes as they are. It is not an error here if the peer has gone: the answer will show it.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sending = self.wire.write(bytes.as_ref());
        within(|| "the peer to take what was sent".to_owned(), sending)
            .await
            .ok();
    }

    /// Sends a request and reads its whole answer.
    pub async fn call(&mut self, request: &Request) -> Answer {
        self.send(request.bytes()).await;
        let mut reading = self.begin().await.expect("the head of an answer");
        if request.is_head() {
            reading.body = Body::new(Framing::Nothing);
        }
        self.rest(reading).await
    }

    /// Reads a whole answer; panics if no head comes.
    pub async fn answer(&mut self) -> Answer {
        let reading = self.begin().await.expect("the head of an answer");
        self.rest(reading).await
    }

    /// Reads heads until the final one. `Err` is how the connection ended instead.
    pub async fn begin(&mut self) -> Result<Reading, Ended> {
        let mut interim = Vec::new();
        loop {
            let head = within(|| "the head of an answer".to_owned(), self.wire.head()).await?;
            if matches!(status(&head), 100 | 102..=199) {
                interim.push(head);
                continue;
            }
            let framing = match status(&head) {
                101 | 204 | 304 => Framing::Nothing,
                _ => head.framing(Framing::UntilClose)?,
            };
            let body = Body::new(framing);
            return Ok(Reading {
                head,
                interim,
                body,
            });
        }
    }

    /// The next bytes of the body as they come; `None` at its end.
    pub async fn piece(&mut self, reading: &mut Reading) -> Result<Option<Bytes>, Ended> {
        let next = reading.body.next(&mut self.wire);
        Ok(within(|| "more of an answer".to_owned(), next).await?)
    }

    /// Reads on until what was read ends with `end` (`\n\n`: a whole event), and gives it.
    pub async fn until(&mut self, reading: &mut Reading, end: &[u8]) -> Bytes {
        let mut bytes = BytesMut::new();
        while !bytes.ends_with(end) {
            match self.piece(reading).await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                ended => panic!("{ended:?} after {bytes:?}"),
            }
        }
        bytes.freeze()
    }

    /// Reads what is left of an answer.
    pub async fn rest(&mut self, mut reading: Reading) -> Answer {
        let mut bytes = BytesMut::new();
        let ended = loop {
            match self.piece(&mut reading).await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => break Ended::Complete,
                Err(ended) => break ended,
            }
        };
        Answer {
            head: reading.head,
            interim: reading.interim,
            body: bytes.freeze(),
            trailers: reading.body.trailers,
            ended,
        }
    }

    /// Exactly `length` bytes from the wire, framing and all; fewer if the connection ends before.
    pub async fn take(&mut self, length: usize) -> Bytes {
        while self.wire.buffer.len() < length {
            let missing = (length - self.wire.buffer.len()) as u64;
            let Wire { stream, buffer } = &mut self.wire;
            buffer.reserve(usize::try_from(missing).unwrap_or(usize::MAX).min(64 << 10));
            let mut limited = stream.take(missing);
            let reading = limited.read_buf(buffer);
            let read = within(|| format!("{missing} more bytes"), reading).await;
            if read.unwrap_or(0) == 0 {
                break;
            }
        }
        let here = length.min(self.wire.buffer.len());
        self.wire.buffer.split_to(here).freeze()
    }

    /// Waits for the peer to end the connection; gives what it still sent.
    pub async fn closed(&mut self) -> (Bytes, Ended) {
        let draining = async {
            loop {
                if let Err(cut) = self.wire.fill().await {
                    return Ended::from(cut);
                }
            }
        };
        let ended = within(|| "the peer to close".to_owned(), draining).await;
        (self.wire.buffer.split().freeze(), ended)
    }

    /// Closes the sending side only, as `nc` does at the end of its input.
    pub async fn half_close(&mut self) {
        tokio::io::AsyncWriteExt::shutdown(&mut self.wire.stream)
            .await
            .ok();
    }

    pub async fn hang_up(self, how: HangUp) {
        match how {
            HangUp::Fin => self.wire.finish().await,
            HangUp::Reset => self.wire.reset(),
        }
    }
}

impl Answer {
    pub fn status(&self) -> u16 {
        status(&self.head)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.fields.first(name)
    }

    /// The body as JSON; panics with the body if it is not JSON.
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body's events, as a browser would dispatch them.
    pub fn events(&self) -> Vec<Event> {
        parse(&self.body)
    }

    /// `error.code` of an error in the contract's shape.
    pub fn error_code(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body["error"]["code"].as_str().map(str::to_owned)
    }
}

impl Reading {
    pub fn status(&self) -> u16 {
        status(&self.head)
    }
}

impl From<Cut> for Ended {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Fin => Self::Fin,
            Cut::Reset => Self::Reset,
            Cut::Malformed(what) => Self::Malformed(what),
        }
    }
}

fn status(head: &Head) -> u16 {
    let code = head
        .first_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("status line {:?}", head.first_line))
}
