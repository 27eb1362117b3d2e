//! In: the tree of `ostia.toml`, whose values know their places.
//! Out: [`Settings`] with every default filled in, and the entries of the catalogue, unread. One file per group of sections.
//! Not here: fixtures.

mod alerts;
mod auth;
mod catalog;
mod limits;
mod people;
mod server;
mod telemetry;
mod traffic;
mod web;

use super::fixture::Listed;
use super::reader::{Reading, Section};
use super::tree::Member;
use crate::settings::Settings;

/// Reads every section. A wrong value is reported, and the result has the default instead.
pub(super) fn read<'a>(reading: &'a Reading<'a>, table: &'a [Member]) -> (Settings, Listed<'a>) {
    let root = Section::root(reading, table);
    let server = server::read_server(&root, reading);
    let settings = Settings {
        web: web::read(&root, &server, reading),
        server,
        fixtures: catalog::read_fixtures(&root),
        adapters: catalog::read_adapters(&root),
        catalog: catalog::read_catalog(&root),
        maintenance: std::collections::BTreeMap::new(),
        maintenance_sources: std::collections::BTreeMap::new(),
        store: server::read_store(&root, reading),
        reports: server::read_reports(&root, reading),
        retention: server::read_retention(&root),
        auth: auth::read(&root, reading),
        keys: people::read_keys(&root),
        roles: people::read_roles(&root),
        limits: limits::read(&root, reading),
        routing: traffic::read_routing(&root, reading),
        alerts: alerts::read(&root, reading),
        upstream: traffic::read_upstream(&root),
        journal: server::read_journal(&root),
        telemetry: telemetry::read(&root, reading),
    };
    let (maintenance, maintenance_sources) = catalog::read_maintenance(&root, reading);
    let listed = Listed {
        clusters: root.entries(
            "clusters",
            "Clusters defined here, with the keys of the fixtures' `fields` and `config` side by side. Those of the fixtures are served too.",
        ),
        endpoints: root.entries(
            "endpoints",
            "Endpoints defined here, likewise. One with `cluster`, `framework`, `model` and `api_url` is complete.",
        ),
    };
    root.finish();
    let settings = Settings {
        maintenance,
        maintenance_sources,
        ..settings
    };
    let settings = people::with_owner_ttl(settings, reading);
    auth::check_none(&settings, reading);
    auth::check_admit(&settings, reading);
    (settings, listed)
}
