//! How a new process takes over from a running one without a connection being refused: it gets the listening sockets
//! themselves, and what is known of limits, through a socket that is its standard input.
//!
//! The old process sends a greeting with the sockets. The new one prepares everything and says that it is ready. Then the
//! old one accepts nothing more and sends its last word, and the new one begins to accept: connections wait in the
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

/// The variable that tells a process that its standard input is such a socket.
pub const VARIABLE: &str = "OSTIA_HANDOVER";
/// How long a new process may take until it could serve.
const PREPARING: Duration = Duration::from_secs(120);
/// How long the new process waits for the old one's last word.
const LAST_WORD: Duration = Duration::from_secs(10);
const LONGEST_GREETING: usize = 64 * 1024;
/// Raised when a process could not understand an older one any more.
const PROTOCOL: u32 = 1;
/// How often it is told what runs on endpoints.
const IN_FLIGHT: Duration = Duration::from_millis(100);
const READY: &str = "ready\n";

/// What the old process says first. The sockets come with it, in this order.
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
    /// What was counted of limits.
    pub counters: Counters,
}

/// What the old process says after that, until it ends.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Change(Change),
    /// Requests that it still has on endpoints, by slug; absent ones have none.
    InFlight(BTreeMap<String, u32>),
}

/// A listening socket, and the address for which it was made.
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

/// Why nobody took over. Nothing has changed.
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
    // With it goes the other end's copy, so that the child's end is the end of the stream.
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

/// A process that is not ready yet; ended with this.
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
    // What the first message did not hold.
    (&*stream).write_all(text.get(sent..).unwrap_or_default())?;
    Ok(())
}

impl Successor {
    /// Has it serve. This process must accept nothing any more.
    pub(super) async fn go(&mut self, word: &LastWord) -> io::Result<()> {
        say(&mut self.stream, word).await
    }

    /// Tells of what ends here, for as long as both live.
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
    /// The process that started this one to take over from it; `None`: nobody did. Its socket is standard input until this
    /// call, and nothing is afterwards. Blocks for as long as the other needs for one message.
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

    /// Says that this process could serve, and waits until it may. If the other one dies in between, it may at once: the
    /// sockets are here.
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

/// Counts on with what the old process still does, until it ends.
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

/// Places on endpoints for as many requests as the other process has there.
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

/// One line, and the sockets that came with its first part.
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
        // The old one's end of the socket is closed; who connects is not refused.
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
