//! Scripts for faults that were seen in real model servers.

use bytes::Bytes;
use serde_json::json;

use super::{Break, Script, Step};

impl Script {
    /// Takes the request and says nothing until the peer goes away.
    pub fn silent() -> Self {
        Self::steps([Step::Silence])
    }

    /// Takes the request and resets the connection.
    pub fn reset() -> Self {
        Self::steps([Step::Spoilt, Step::Reset])
    }

    /// Takes the request and closes without an answer, as a server does whose keep-alive just ran out.
    pub fn hang_up() -> Self {
        Self::steps([Step::Spoilt, Step::Fin])
    }

    /// A stream of `events` events that breaks then.
    pub fn broken_stream(events: usize, how: Break) -> Self {
        Self::completion()
            .chunks(events.max(1))
            .break_after(events, how)
    }

    /// An HTML page, as a proxy in front of a model server answers.
    pub fn html(status: u16) -> Self {
        let page = "<html><head><title>Internal Server Error</title></head><body><center>nginx</center></body></html>";
        Self::raw(status, page).header("content-type", "text/html")
    }

    /// 200 with nothing in it.
    pub fn empty() -> Self {
        Self::raw(200, "").header("content-type", "application/json")
    }

    /// An error object in OpenAI's shape.
    pub fn error(status: u16, message: &str) -> Self {
        let error = json!({"error": {"message": message, "type": "server_error", "param": null, "code": null}});
        Self::json(status, &error)
    }

    /// A 401 that repeats the key from the request.
    pub fn unauthorized_echo() -> Self {
        Self::by(|request| {
            let key = request.bearer().unwrap_or("nothing");
            Self::error(401, &format!("Incorrect API key provided: {key}."))
        })
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        Self::raw(status, "").header("location", location)
    }

    /// Switches to another protocol that nobody asked for.
    pub fn switching_protocols() -> Self {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        Self::steps([Step::Write(head.into()), Step::Silence])
    }

    /// A head that never ends.
    pub fn endless_headers() -> Self {
        Self::steps([
            Step::Write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n".into()),
            Step::Repeat(
                "X-Filler: and so on, and so on, and so on\r\n".into(),
                u64::MAX,
            ),
        ])
    }

    /// `count` interim answers, then a sound one.
    pub fn many_interim(count: usize) -> Self {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
        Self::completion().interim(Bytes::from(hints.repeat(count)))
    }

    /// Bytes that are not HTTP.
    pub fn garbage() -> Self {
        Self::steps([
            Step::Write("\u{0}\u{1}SSH-2.0-OpenSSH_9.6\r\n\r\n".into()),
            Step::Spoilt,
            Step::Silence,
        ])
    }
}
