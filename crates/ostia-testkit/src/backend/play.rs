//! Plays the steps of a script on a connection, and watches whether the peer is still there.

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::record::Ending;
use super::script::Step;
use super::shared::Entry;
use crate::gate::Gate;
use crate::wire::Wire;

/// The result of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Played {
    ToTheEnd,
    /// The script, or the peer, ended the connection.
    Closed,
    /// The connection is to be closed with a reset.
    Reset,
}

/// The peer went away.
struct Gone;

/// More than this of pipelined requests is not read while an answer is under way.
const LONGEST_PIPELINE: usize = 1 << 20;

pub(super) async fn play(wire: &mut Wire, steps: Vec<Step>, entry: &Entry) -> Played {
    for step in steps {
        let done = match step {
            Step::Write(bytes) => write(wire, &bytes, entry).await,
            Step::Repeat(bytes, times) => repeat(wire, &bytes, times, entry).await,
            Step::Pass(gate) => pass(wire, &gate).await,
            Step::Silence => silence(wire).await,
            Step::Mark(tokens, usage) => {
                entry.update(|record| {
                    record.events_written += 1;
                    record.tokens_written += tokens;
                    record.reported = usage.or(record.reported);
                });
                Ok(())
            }
            Step::Spoilt => {
                entry.end(Ending::Broken);
                Ok(())
            }
            Step::Fin => {
                wire.stream.shutdown().await.ok();
                return Played::Closed;
            }
            Step::Reset => return Played::Reset,
        };
        if let Err(Gone) = done {
            entry.end(Ending::Aborted);
            return Played::Closed;
        }
    }
    entry.end(Ending::Answered);
    Played::ToTheEnd
}

async fn write(wire: &mut Wire, bytes: &[u8], entry: &Entry) -> Result<(), Gone> {
    let Wire { stream, buffer } = wire;
    tokio::select! {
        biased;
        written = write_all(stream, bytes) => written.map_err(|_| Gone)?,
        () = gone(stream, buffer) => return Err(Gone),
    }
    entry.update(|record| record.bytes_written += bytes.len() as u64);
    Ok(())
}

async fn repeat(wire: &mut Wire, bytes: &[u8], times: u64, entry: &Entry) -> Result<(), Gone> {
    for _ in 0..times {
        write(wire, bytes, entry).await?;
        // A socket that takes everything at once must not keep the other side from running.
        tokio::task::consume_budget().await;
    }
    Ok(())
}

async fn pass(wire: &mut Wire, gate: &Gate) -> Result<(), Gone> {
    let Wire { stream, buffer } = wire;
    tokio::select! {
        biased;
        () = gone(stream, buffer) => Err(Gone),
        () = gate.pass() => Ok(()),
    }
}

async fn silence(wire: &mut Wire) -> Result<(), Gone> {
    let Wire { stream, buffer } = wire;
    gone(stream, buffer).await;
    Err(Gone)
}

/// `write_all` over a shared reference, so that the reading side can be watched at the same time.
async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Ends when the peer has closed or reset the connection; what it sends before that is kept.
async fn gone(stream: &TcpStream, pending: &mut BytesMut) {
    let mut piece = [0; 4096];
    while pending.len() < LONGEST_PIPELINE {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut piece) {
            Ok(0) => return,
            Ok(read) => pending.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
    std::future::pending().await
}
