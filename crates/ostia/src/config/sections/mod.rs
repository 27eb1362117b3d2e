//! In: the tree of `ostia.toml`, whose values know where they stand.
//! Out: [`Settings`] with every default filled in. One file per group of sections.
//! Not here: fixtures.

mod auth;
mod catalog;
mod server;
mod traffic;

use super::raw::Table;
use super::section::{Reading, Section};
use crate::settings::Settings;

/// Reads every section. What is wrong is reported and stands at its default in the result.
pub(super) fn read(reading: &Reading<'_>, table: Table) -> Settings {
    let mut root = Section::new(reading, String::new(), table);
    let settings = Settings {
        server: server::read_server(&mut root, reading),
        fixtures: catalog::read_fixtures(&mut root),
        adapters: catalog::read_adapters(&mut root),
        catalog: catalog::read_catalog(&mut root),
        maintenance: std::collections::BTreeMap::new(),
        maintenance_sources: std::collections::BTreeMap::new(),
        store: server::read_store(&mut root, reading),
        auth: auth::read(&mut root, reading),
        limits: traffic::read_limits(&mut root, reading),
        routing: traffic::read_routing(&mut root, reading),
        upstream: traffic::read_upstream(&mut root),
        journal: server::read_journal(&mut root),
        telemetry: server::read_telemetry(&mut root, reading),
    };
    let (maintenance, maintenance_sources) = catalog::read_maintenance(&mut root, reading);
    root.finish();
    let settings = Settings {
        maintenance,
        maintenance_sources,
        ..settings
    };
    auth::check_none(&settings, reading);
    settings
}
