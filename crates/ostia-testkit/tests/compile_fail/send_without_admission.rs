use ostia::endpoint::Outgoing;
use ostia::upstream::{Upstreams, send};
use ostia_core::Receipt;

async fn skip(upstreams: &Upstreams, receipt: &mut Receipt, outgoing: Outgoing) {
    let _ = send(upstreams, receipt, outgoing).await;
}

fn main() {}
