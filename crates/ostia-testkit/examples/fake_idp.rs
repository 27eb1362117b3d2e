//! The fake identity provider as a process, for clients that are not written in Rust: prints where it listens and what it
//! wants to be told, as one line of JSON, and serves until its stdin ends.
#![expect(
    clippy::expect_used,
    reason = "a small program: what fails here ends it"
)]

use std::io::{Read, Write};

use ostia_testkit::idp::{CLIENT_ID, FakeIdp, GlobusUser};
use serde_json::json;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let idp = runtime.block_on(async {
        let idp = FakeIdp::start().await;
        let user = GlobusUser::new("11111111-0000-4000-8000-000000000001", "ann@gmail.com")
            .linked("11111111-0000-4000-8000-000000000002", "ann@lab.org")
            .session(&["11111111-0000-4000-8000-000000000002"])
            .groups(&["22222222-0000-4000-8000-000000000001"])
            .fails("33333333-0000-4000-8000-000000000002");
        idp.globus("Agann", user);
        idp
    });
    let about = json!({
        "base_url": idp.base_url(), "client_id": CLIENT_ID, "client_secret": idp.secret().secret(), "token": "Agann",
    });
    let mut out = std::io::stdout();
    writeln!(out, "{about}")
        .and_then(|()| out.flush())
        .expect("stdout");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("stdin");
    for call in idp.calls() {
        let fields: Vec<_> = call
            .form
            .0
            .iter()
            .map(|(name, value)| json!([name, value]))
            .collect();
        let seen = json!({"method": call.method, "path": call.path, "query": call.query, "form": fields,
            "authorization": call.authorization});
        writeln!(out, "{seen}").expect("stdout");
    }
}
