//! In: the bytes of `ostia.toml`, of the two fixture files and the environment.
//! Out: [`crate::settings::Settings`] and a [`crate::catalog::Catalog`], or every mistake with file, line and column.
//! Not here: sockets, databases, anything that changes after start.

mod dotenv;
mod effective;
mod environment;
mod fixture;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod import;
mod json;
mod keys;
mod load;
mod memory;
mod problem;
mod python;
mod reader;
mod sections;
mod source;
mod tls_files;
mod toml_file;
mod tree;
mod units;
mod words;

pub use effective::SettingValue;
pub use environment::Environment;
pub use fixture::{
    CLUSTER_CONFIG_KEYS, CLUSTER_KEYS, CONNECTION_KEYS, ENDPOINT_CONFIG_KEYS, ENDPOINT_KEYS,
    FixtureKey,
};
pub use import::{
    Changes, FirstVariable, ImportError, Imported, changes, first_variables, import_first,
};
pub use keys::{SettingKey, setting_keys};
pub use load::{Loaded, Sources, load};
pub use problem::{Place, Problem, Reach, Severity};
pub use units::duration;

#[cfg(test)]
mod tests;
