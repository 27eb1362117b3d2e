use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::{Counts, Mode};

/// Counts one open connection for as long as it lives.
pub(super) struct Open(pub Arc<watch::Sender<Counts>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|counts| counts.open -= 1);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

pub(super) async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    mut mode: watch::Receiver<Mode>,
    open: Open,
) {
    match &*mode.borrow_and_update() {
        Mode::Reset => {
            client.set_zero_linger().ok();
            return;
        }
        Mode::TurnAway => return,
        _ => {}
    }
    let Ok(mut server) = TcpStream::connect(server).await else {
        client.set_zero_linger().ok();
        return;
    };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    if !both_ways(&mut client, &mut server, mode, &open).await {
        client.set_zero_linger().ok();
        server.set_zero_linger().ok();
    }
}

/// Returns whether both directions ended in an orderly way.
async fn both_ways(
    client: &mut TcpStream,
    server: &mut TcpStream,
    mode: watch::Receiver<Mode>,
    open: &Open,
) -> bool {
    // Borrowed halves: owned ones send FIN when dropped, and a reset must not begin with that.
    let (client_reads, mut client_writes) = client.split();
    let (server_reads, mut server_writes) = server.split();
    let to_server = copy(
        Direction::ToServer,
        client_reads,
        &mut server_writes,
        mode.clone(),
        open,
    );
    let to_client = copy(
        Direction::ToClient,
        server_reads,
        &mut client_writes,
        mode.clone(),
        open,
    );
    tokio::select! {
        both = async { tokio::try_join!(to_server, to_client) } => both.is_ok(),
        () = reset_ordered(mode.clone()) => false,
    }
}

async fn reset_ordered(mut mode: watch::Receiver<Mode>) {
    let ordered = mode
        .wait_for(|mode| matches!(mode, Mode::Reset))
        .await
        .is_ok();
    if !ordered {
        std::future::pending::<()>().await;
    }
}

/// Passes one direction on until its end, which is passed on too. An error breaks the whole connection.
async fn copy(
    direction: Direction,
    mut from: ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
    open: &Open,
) -> io::Result<()> {
    let mut piece = vec![0; 16 << 10];
    let mut finished = false;
    loop {
        let now = mode.borrow_and_update().clone();
        let half_closed = matches!(now, Mode::HalfClose) && direction == Direction::ToClient;
        if half_closed && !finished {
            finished = true;
            to.shutdown().await?;
        }
        let read = tokio::select! {
            read = from.read(&mut piece) => read?,
            _ = mode.changed() => continue,
        };
        // The mode may have changed while nothing came.
        let now = mode.borrow_and_update().clone();
        if read == 0 {
            return end(&now, to, finished).await;
        }
        if !finished {
            pass(&now, &piece[..read], to).await?;
            count(direction, read, open);
        }
    }
}

async fn end(mode: &Mode, to: &mut WriteHalf<'_>, finished: bool) -> io::Result<()> {
    match mode {
        // In a black hole not even an end comes through.
        Mode::BlackHole => std::future::pending().await,
        Mode::Hold(gate) => gate.pass().await,
        _ => {}
    }
    if finished {
        Ok(())
    } else {
        to.shutdown().await
    }
}

async fn pass(mode: &Mode, bytes: &[u8], to: &mut WriteHalf<'_>) -> io::Result<()> {
    match mode {
        Mode::BlackHole => Ok(()),
        Mode::Hold(gate) => {
            gate.pass().await;
            to.write_all(bytes).await
        }
        Mode::Slice(size) => {
            for slice in bytes.chunks((*size).max(1)) {
                to.write_all(slice).await?;
                // Lets a reader on the same thread see this slice alone.
                tokio::task::yield_now().await;
            }
            Ok(())
        }
        _ => to.write_all(bytes).await,
    }
}

fn count(direction: Direction, bytes: usize, open: &Open) {
    open.0.send_modify(|counts| match direction {
        Direction::ToServer => counts.bytes_to_server += bytes as u64,
        Direction::ToClient => counts.bytes_to_client += bytes as u64,
    });
}
