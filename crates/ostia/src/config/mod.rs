//! In: the bytes of `ostia.toml`, of the two fixture files and the environment.
//! Out: [`Settings`] and a [`crate::catalog::Catalog`], or every mistake with file, line and column.
//! Not here: sockets, databases, anything that changes after start.

mod settings;

pub use settings::*;
