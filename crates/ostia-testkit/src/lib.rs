//! Everything a test needs around a gateway: a backend that misbehaves on demand, a client that can be rude,
//! a network that fails when told to, and secrets that show where they leak.
//!
//! - [`backend`]: a scripted inference server over a raw socket, which records all it sees
//! - [`client`]: a raw HTTP/1.1 client and a reference reader for event streams
//! - [`collector`]: a collector of OpenTelemetry
//! - [`disk`]: a disk that hangs when told to
//! - [`echo`]: a backend of another kind, without any HTTP
//! - [`chaos`]: a TCP proxy that can be told to fail while it runs
//! - [`ports`]: addresses that refuse or never answer
//! - [`redis_server`]: a Redis or Valkey server of its own, with a password and TLS where asked
//! - [`idp`]: an identity provider: Globus, introspection and OpenID Connect
//! - [`canary`]: unique secrets, and a search for them in everything that was written
//! - [`gateway`]: a gateway under test, and what must hold after every test
//! - [`limiter`]: a limiter that answers late or never
//! - [`gate`]: how a test holds something back instead of sleeping
//!
//! All of it is test code: what goes wrong in the rig panics with a message that says what was awaited.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is test code: a broken rig must stop the test at once"
)]

pub mod backend;
pub mod canary;
pub mod chaos;
pub mod client;
pub mod collector;
pub mod disk;
pub mod echo;
pub mod gate;
pub mod gateway;
pub mod idp;
pub mod limiter;
pub mod patience;
pub mod ports;
pub mod redis_server;
pub mod wire;
