use std::sync::Arc;

use bytes::BytesMut;
use ostia_core::{Clock, SystemClock};
use tokio::net::TcpStream;

use super::play::{Played, play};
use super::record::Ending;
use super::render::plan;
use super::shared::{Entry, Shared};
use super::{Received, Script};
use crate::wire::{Body, Cut, Head, Wire};

/// Serves one connection until either side closes it.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, number: usize) {
    let counted = Counted(Arc::clone(&shared));
    let mut wire = Wire::new(stream);
    let mut served = 0;
    let played = loop {
        let Some(head) = next_head(&shared, &mut wire).await else {
            break Played::Closed;
        };
        let entry = shared.begin(number, Received::from_head(head));
        match answer(&shared, &mut wire, &entry).await {
            Played::ToTheEnd => served += 1,
            over => break over,
        }
        if shared.read(|state| state.requests_per_connection) == Some(served) {
            break Played::Closed;
        }
    };
    if played == Played::Reset {
        wire.reset();
    } else {
        drop(wire);
    }
    drop(counted);
}

/// Keeps `open_connections` right, however the task ends.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.change(|state| state.counts.open_connections -= 1);
    }
}

/// The next request's head, or `None` when the connection is over.
async fn next_head(shared: &Shared, wire: &mut Wire) -> Option<Head> {
    let mut closings = shared.idle_closings.subscribe();
    let head = if wire.buffer.is_empty() {
        tokio::select! {
            head = wire.head() => head,
            _ = closings.changed() => return None,
        }
    } else {
        wire.head().await
    };
    match head {
        Ok(head) => Some(head),
        Err(Cut::Malformed(what)) => {
            note_malformed(shared, what);
            None
        }
        Err(_) => None,
    }
}

/// Bytes that are not a request still show in the records.
fn note_malformed(shared: &Shared, what: String) {
    shared.change(|state| state.malformed.push(what));
}

async fn answer(shared: &Shared, wire: &mut Wire, entry: &Entry) -> Played {
    if let Some(script) = shared.early_script() {
        let played = perform(wire, &script, entry).await;
        if played == Played::ToTheEnd && read_body(wire, entry).await.is_err() {
            return Played::Closed;
        }
        return played;
    }
    if read_body(wire, entry).await.is_err() {
        entry.end(Ending::Aborted);
        return Played::Closed;
    }
    let script = shared.choose(&entry.received());
    perform(wire, &script, entry).await
}

async fn perform(wire: &mut Wire, script: &Script, entry: &Entry) -> Played {
    let request = entry.received();
    let plan = plan(script, &request);
    let played = play(wire, plan.steps, entry).await;
    let keep = plan.keep && !request.wants_close();
    if played == Played::ToTheEnd && !keep {
        return Played::Closed;
    }
    played
}

async fn read_body(wire: &mut Wire, entry: &Entry) -> Result<(), Cut> {
    let mut framing = None;
    entry.update(|record| framing = Some(record.received.framing()));
    let mut body = Body::new(framing.unwrap_or(crate::wire::Framing::Nothing));
    if entry.received().header("expect").is_some() {
        wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .map_err(|_| Cut::Reset)?;
    }
    let mut bytes = BytesMut::new();
    loop {
        let piece = body
            .next(wire)
            .await
            .inspect_err(|cut| keep_partial(entry, &bytes, cut))?;
        let Some(piece) = piece else { break };
        bytes.extend_from_slice(&piece);
    }
    entry.update(|record| {
        record.received.body = bytes.freeze();
        record.received.trailers = body.trailers;
        record.received.complete = true;
        record.complete_at = Some(SystemClock.now());
    });
    Ok(())
}

fn keep_partial(entry: &Entry, bytes: &BytesMut, cut: &Cut) {
    entry.update(|record| {
        record.received.body = bytes.clone().freeze();
        if let Cut::Malformed(what) = cut {
            record.received.breaches.push(what.clone());
        }
    });
}
