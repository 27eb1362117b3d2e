//! How a new process takes over from a running one without refusing a connection: it gets the listening sockets
//! themselves, and the counters of limits, through a socket that is its standard input.
//!
//! The old process sends a greeting with the sockets. The new one prepares everything and reports that it is ready.
//! Then the old one stops accepting and sends its last word, and the new one starts to accept; connections wait in the
//! sockets' backlog for that moment. If the new one ends before it is ready, the old one has changed nothing.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::admit::{Change, Counters, LocalLimiter};
use crate::fleet::{Fleet, InFlightGuard};

/// The variable that tells a process that its standard input is this socket.
pub const VARIABLE: &str = "OSTIA_HANDOVER";
/// How long a new process may take to become ready.
const PREPARING: Duration = Duration::from_secs(120);
/// How long the new process waits for the old one's last word.
const LAST_WORD: Duration = Duration::from_secs(10);
const LONGEST_GREETING: usize = 64 * 1024;
/// Incremented when a process can no longer understand an older one.
const PROTOCOL: u32 = 1;
/// How often the old process reports its running requests.
const IN_FLIGHT: Duration = Duration::from_millis(100);
const READY: &str = "ready\n";

/// The old process's first message. The sockets come with it, in this order.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    protocol: u32,
    listen: String,
    admin_listen: String,
}

/// The old process's last word.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LastWord {
    /// Endpoints that are drained, by slug.
    pub drained: Vec<String>,
    /// The counters of limits.
    pub counters: Counters,
}

/// What the old process sends after that, until it ends.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Change(Change),
    /// Its running requests on endpoints, by slug; absent endpoints have none.
    InFlight(BTreeMap<String, u32>),
}

/// A listening socket, and its configured address.
pub(super) struct Handed {
    pub address: String,
    pub socket: OwnedFd,
}

/// In the new process: the old one.
pub struct Predecessor {
    stream: BufReader<UnixStream>,
    pub(super) public: Option<Handed>,
    pub(super) admin: Option<Handed>,
}

/// In the old process: the new one, which is ready to serve.
pub struct Successor {
    stream: UnixStream,
    pub pid: u32,
}

/// Why no process took over. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    #[error("the new process cannot be started: {0}")]
    NotStarted(io::Error),
    #[error("the new process ended before it could serve ({0}): its own log says why")]
    Ended(String),
    #[error("the new process was not ready within {} s and was ended", PREPARING.as_secs())]
    TooLate,
    #[error("the sockets cannot be handed over: {0}")]
    Socket(#[from] io::Error),
}

/// Starts `command` with the sockets, and waits until it is ready to serve.
pub(super) async fn offer(
    mut command: Command,
    public: &Handed,
    admin: &Handed,
) -> Result<Successor, HandoverError> {
    let (ours, theirs) = StdStream::pair()?;
    command
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .env(VARIABLE, "1");
    let mut command = tokio::process::Command::from(command);
    let mut candidate = Candidate(Some(command.spawn().map_err(HandoverError::NotStarted)?));
    // Dropping it closes this process's copy of the other end, so that the stream ends with the child.
    drop(command);
    greet(&ours, public, admin)?;
    ours.set_nonblocking(true)?;
    let mut stream = BufReader::new(UnixStream::from_std(ours)?);
    let mut said = String::new();
    let listening = timeout(PREPARING, stream.read_line(&mut said));
    match listening.await {
        Ok(Ok(_)) if said == READY => {}
        Ok(_) => return Err(HandoverError::Ended(candidate.end().await)),
        Err(_) => return Err(HandoverError::TooLate),
    }
    let child = candidate.0.take();
    let pid = child.and_then(|child| child.id()).unwrap_or_default();
    Ok(Successor {
        stream: stream.into_inner(),
        pid,
    })
}

/// A process that is not ready yet. Dropping this ends it.
struct Candidate(Option<Child>);

impl Candidate {
    /// How it ended.
    async fn end(&mut self) -> String {
        match &mut self.0 {
            Some(child) => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            },
            None => String::new(),
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ = child.start_kill();
        }
    }
}

fn greet(stream: &StdStream, public: &Handed, admin: &Handed) -> Result<(), HandoverError> {
    let greeting = Greeting {
        protocol: PROTOCOL,
        listen: public.address.clone(),
        admin_listen: admin.address.clone(),
    };
    let mut text = serde_json::to_vec(&greeting).map_err(io::Error::from)?;
    text.push(b'\n');
    let sockets = [public.socket.as_fd(), admin.socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    let sent = sendmsg(
        stream,
        &[IoSlice::new(&text)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
    let sent = sent.map_err(io::Error::from)?;
    // The part that did not fit into the first message.
    (&*stream).write_all(text.get(sent..).unwrap_or_default())?;
    Ok(())
}

impl Successor {
    /// Lets the new process serve. This process must have stopped accepting.
    pub(super) async fn go(&mut self, word: &LastWord) -> io::Result<()> {
        say(&mut self.stream, word).await
    }

    /// Reports what ends here, for as long as both processes live.
    pub(super) async fn report(
        mut self,
        mut changes: UnboundedReceiver<Change>,
        fleet: Arc<Fleet>,
    ) {
        let mut told = BTreeMap::new();
        loop {
            let word = tokio::select! {
                biased;
                change = changes.recv() => match change {
                    Some(change) => Word::Change(change),
                    None => return,
                },
                () = tokio::time::sleep(IN_FLIGHT) => {
                    let now = in_flight(&fleet);
                    if now == told {
                        continue;
                    }
                    told.clone_from(&now);
                    Word::InFlight(now)
                }
            };
            if say(&mut self.stream, &word).await.is_err() {
                return;
            }
        }
    }
}

impl Predecessor {
    /// The process that started this one to take over from it, if so. Its socket is standard input until this call,
    /// which replaces that by nothing. Blocks until the first message has arrived.
    pub fn meet() -> io::Result<Option<Self>> {
        if std::env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let stream = StdStream::from(rustix::stdio::stdin().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        let (greeting, sockets) = hear(&stream)?;
        if greeting.protocol != PROTOCOL {
            let text = "the running process is of a version that this one cannot take over from: restart it";
            return Err(io::Error::other(text));
        }
        let mut addresses = [greeting.listen, greeting.admin_listen].into_iter();
        let mut handed = sockets.into_iter().filter_map(|socket| {
            let address = addresses.next()?;
            Some(Handed { address, socket })
        });
        let (public, admin) = (handed.next(), handed.next());
        stream.set_nonblocking(true)?;
        Ok(Some(Self {
            stream: BufReader::new(UnixStream::from_std(stream)?),
            public,
            admin,
        }))
    }

    /// Reports that this process is ready, and waits until it may serve. If the other process dies meanwhile, it may
    /// serve at once, because it has the sockets.
    pub(super) async fn ready(&mut self) -> LastWord {
        if self
            .stream
            .get_mut()
            .write_all(READY.as_bytes())
            .await
            .is_err()
        {
            return LastWord::default();
        }
        let mut text = String::new();
        match timeout(LAST_WORD, self.stream.read_line(&mut text)).await {
            Ok(Ok(1..)) => serde_json::from_str(&text).unwrap_or_default(),
            _ => LastWord::default(),
        }
    }
}

/// Counts the old process's running requests too, until it ends.
pub(super) async fn follow(
    mut predecessor: Predecessor,
    limiter: Arc<LocalLimiter>,
    fleet: Arc<Fleet>,
) {
    let mut places: BTreeMap<String, Vec<InFlightGuard>> = BTreeMap::new();
    let mut text = String::new();
    while let Ok(1..) = predecessor.stream.read_line(&mut text).await {
        match serde_json::from_str(&text) {
            Ok(Word::Change(change)) => limiter.follow(change),
            Ok(Word::InFlight(now)) => hold(&mut places, &now, &fleet),
            Err(error) => tracing::debug!(%error, "the old process said something unknown"),
        }
        text.clear();
    }
    limiter.forget_other();
    tracing::info!("the process that served before has ended");
}

/// Takes places on endpoints for as many requests as the other process runs there.
fn hold(
    places: &mut BTreeMap<String, Vec<InFlightGuard>>,
    now: &BTreeMap<String, u32>,
    fleet: &Fleet,
) {
    places.retain(|slug, _| now.contains_key(slug));
    for (slug, &count) in now {
        let held = places.entry(slug.clone()).or_default();
        let state = fleet.endpoint(&slug.as_str().into());
        held.truncate(count as usize);
        while held.len() < count as usize {
            held.extend(state.take_place(0));
        }
    }
}

fn in_flight(fleet: &Fleet) -> BTreeMap<String, u32> {
    let all = fleet.all().into_iter();
    let busy = all.filter(|state| state.in_flight() > 0);
    busy.map(|state| (state.slug().to_string(), state.in_flight()))
        .collect()
}

async fn say(stream: &mut UnixStream, word: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(word)?;
    text.push(b'\n');
    stream.write_all(&text).await
}

/// Reads one line, and the sockets that came with its first part.
fn hear(mut stream: &StdStream) -> io::Result<(Greeting, Vec<OwnedFd>)> {
    let mut text = vec![0; LONGEST_GREETING];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut text)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            sockets.extend(rights);
        }
    }
    let mut length = received.bytes;
    while length > 0 && text[length - 1] != b'\n' && length < text.len() {
        match stream.read(&mut text[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
    let greeting = serde_json::from_slice(&text[..length])?;
    Ok((greeting, sockets))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_go_through_with_their_addresses() {
        let (ours, theirs) = StdStream::pair().unwrap();
        let listener = |address: &str| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let bound = listener.local_addr().unwrap();
            let handed = Handed {
                address: address.to_owned(),
                socket: listener.into(),
            };
            (handed, bound)
        };
        let ((public, at), (admin, _)) = (listener("one"), listener("two"));
        greet(&ours, &public, &admin).unwrap();
        let (greeting, sockets) = hear(&theirs).unwrap();
        assert_eq!((&*greeting.listen, &*greeting.admin_listen), ("one", "two"));
        // The old process's copies are closed, and connections are still not refused.
        drop((public, admin));
        let connecting = TcpStream::connect(at).unwrap();
        let mut sockets = sockets.into_iter().map(TcpListener::from);
        let (accepted, _) = sockets.next().unwrap().accept().unwrap();
        assert_eq!(
            accepted.peer_addr().unwrap(),
            connecting.local_addr().unwrap()
        );
        assert_eq!(sockets.count(), 1);
    }
}
