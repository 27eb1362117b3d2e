//! HTTP/1.1 messages as they lie on the wire (RFC 9112), read from a plain socket: the reading half of both the
//! fake backend and the raw client. Nothing is corrected: what breaks the rules is reported.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A head above this is taken for an attack on the rig.
const LONGEST_HEAD: usize = 4 << 20;

/// Room for one read.
const READ_AHEAD: usize = 64 << 10;

/// Why a message has no (more) bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// The peer closed its side in an orderly way.
    Fin,
    /// The connection was reset, or broke in another way.
    Reset,
    /// What came is not HTTP/1.1.
    Malformed(String),
}

/// Header fields in their order, names as they were spelled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

/// Everything before a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Request line or status line.
    pub first_line: String,
    pub fields: Fields,
    /// The exact bytes, blank line included.
    pub raw: Bytes,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads one body, piece by piece.
#[derive(Debug)]
pub struct Body {
    framing: Framing,
    /// Bytes missing of the length, or of the current chunk.
    left: u64,
    begun: bool,
    pub trailers: Fields,
}

/// A socket and what was read from it but not yet used.
#[derive(Debug)]
pub struct Wire {
    pub stream: TcpStream,
    pub buffer: BytesMut,
}

impl Fields {
    /// The first value of this name.
    pub fn first(&self, name: &str) -> Option<&str> {
        let mut matching = self
            .0
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name));
        matching.next().map(|(_, value)| &**value)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let matching = move |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.0.iter().filter(matching).map(|(_, value)| &**value)
    }

    /// Lower-case names, sorted, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.iter().map(|(n, _)| n.to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        names
    }

    fn parse(lines: &str) -> Result<Self, Cut> {
        let mut fields = Vec::new();
        for line in lines.split("\r\n").filter(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else {
                return Err(Cut::Malformed(format!("header line {line:?}")));
            };
            if name.is_empty() || name.contains(|c: char| c.is_ascii_whitespace()) {
                return Err(Cut::Malformed(format!("header name {name:?}")));
            }
            let value = value.trim_matches([' ', '\t']);
            fields.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self(fields))
    }
}

impl Head {
    fn parse(raw: Bytes) -> Result<Self, Cut> {
        let text = String::from_utf8_lossy(&raw);
        let (first_line, lines) = text.split_once("\r\n").unwrap_or((&text, ""));
        let fields = Fields::parse(lines)?;
        let first_line = first_line.to_owned();
        Ok(Self {
            first_line,
            fields,
            raw,
        })
    }

    /// What the header fields say; an error where RFC 9112 section 6 leaves no safe reading.
    pub fn framing(&self, otherwise: Framing) -> Result<Framing, Cut> {
        let codings: Vec<_> = self.fields.all("transfer-encoding").collect();
        let lengths: Vec<_> = self.fields.all("content-length").collect();
        match (&codings[..], &lengths[..]) {
            ([], []) => Ok(otherwise),
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            ([], [length]) if length.bytes().all(|byte| byte.is_ascii_digit()) => length
                .parse()
                .map(Framing::Length)
                .map_err(|_| Cut::Malformed(format!("Content-Length {length:?}"))),
            _ => Err(Cut::Malformed(format!(
                "framing: Transfer-Encoding {codings:?}, Content-Length {lengths:?}"
            ))),
        }
    }
}

impl Body {
    pub fn new(framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => length,
            _ => 0,
        };
        Self {
            framing,
            left,
            begun: false,
            trailers: Fields::default(),
        }
    }

    /// The next bytes as they came, never more than one chunk; `None` at the end of the body.
    pub async fn next(&mut self, wire: &mut Wire) -> Result<Option<Bytes>, Cut> {
        match self.framing {
            Framing::Nothing => Ok(None),
            Framing::Length(_) if self.left == 0 => Ok(None),
            Framing::Length(_) => self.part(wire).await.map(Some),
            Framing::UntilClose => match wire.fill_if_empty().await {
                Ok(()) => Ok(Some(wire.buffer.split().freeze())),
                Err(Cut::Fin) => Ok(None),
                Err(cut) => Err(cut),
            },
            Framing::Chunked => self.chunk(wire).await,
        }
    }

    async fn chunk(&mut self, wire: &mut Wire) -> Result<Option<Bytes>, Cut> {
        if self.left == 0 {
            self.left = self.chunk_size(wire).await?;
            if self.left == 0 {
                self.trailers = wire.trailers().await?;
                self.framing = Framing::Nothing;
                return Ok(None);
            }
        }
        self.part(wire).await.map(Some)
    }

    async fn chunk_size(&mut self, wire: &mut Wire) -> Result<u64, Cut> {
        if std::mem::replace(&mut self.begun, true) {
            let end = wire.line().await?;
            if !end.is_empty() {
                return Err(Cut::Malformed(format!("chunk followed by {end:?}")));
            }
        }
        let line = wire.line().await?;
        let size = line.split(';').next().unwrap_or("").trim();
        u64::from_str_radix(size, 16).map_err(|_| Cut::Malformed(format!("chunk size {line:?}")))
    }

    async fn part(&mut self, wire: &mut Wire) -> Result<Bytes, Cut> {
        wire.fill_if_empty().await?;
        let here = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = wire.buffer.split_to(here.min(wire.buffer.len())).freeze();
        self.left -= bytes.len() as u64;
        Ok(bytes)
    }
}

impl Wire {
    /// Small writes leave at once: a test decides what a packet holds.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).ok();
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(address).await.map(Self::new)
    }

    /// Reads until a blank line. [`Cut::Fin`] with an empty buffer is the orderly end between two messages.
    pub async fn head(&mut self) -> Result<Head, Cut> {
        loop {
            // Empty lines before a start line are skipped (RFC 9112 section 2.2).
            while self.buffer.starts_with(b"\r\n") {
                self.buffer.advance(2);
            }
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                return Head::parse(self.buffer.split_to(end + 4).freeze());
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err(Cut::Malformed("a head without end".to_owned()));
            }
            self.fill().await?;
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads at least one more byte into the buffer.
    pub async fn fill(&mut self) -> Result<(), Cut> {
        self.buffer.reserve(READ_AHEAD);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Cut::Fin),
            Ok(_) => Ok(()),
            Err(_) => Err(Cut::Reset),
        }
    }

    /// Closes in an orderly way.
    pub async fn finish(mut self) {
        self.stream.shutdown().await.ok();
    }

    /// Closes with a reset: the peer learns that something broke.
    pub fn reset(self) {
        self.stream.set_zero_linger().ok();
    }

    async fn fill_if_empty(&mut self) -> Result<(), Cut> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(())
    }

    async fn line(&mut self) -> Result<String, Cut> {
        loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err(Cut::Malformed("a line without end".to_owned()));
            }
            self.fill().await?;
        }
    }

    async fn trailers(&mut self) -> Result<Fields, Cut> {
        let mut lines = String::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Fields::parse(&lines);
            }
            lines.push_str(&line);
            lines.push_str("\r\n");
        }
    }
}
