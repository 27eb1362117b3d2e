//! In: the path behind `/v1/`. Out: [`Api`] and the [`Dialect`] that it speaks.
//! Here: what each API is. Not here: bodies in sockets, backends.

mod api;
mod broken_end;

pub use api::{Api, Dialect};
pub use broken_end::broken_stream_event;
