use std::collections::BTreeMap;
use std::time::Duration;

use super::super::reader::{Reading, Section, Text, quoted};
use crate::catalog::HttpUrl;
use crate::settings::{CatalogSettings, Fixtures, MaintenanceSource};

pub(super) fn read_fixtures(root: &Section<'_>) -> Fixtures {
    let section = root.section("fixtures", "The two files that say what is served.");
    let fixtures = Fixtures {
        clusters: section.path_or(
            "clusters",
            "fixtures/clusters.json",
            "Clusters; may hold endpoints as well.",
        ),
        endpoints: section.path_or(
            "endpoints",
            "fixtures/endpoints.json",
            "Endpoints; may hold clusters as well.",
        ),
    };
    section.finish();
    fixtures
}

pub(super) fn read_adapters(root: &Section<'_>) -> BTreeMap<String, String> {
    plain(root.text_map(
        "adapters",
        "Defines names that fixtures use: `\"my_app.custom.CustomEndpoint\" = \"script:adapters/custom.rhai\"`.",
    ))
}

pub(super) fn read_catalog(root: &Section<'_>) -> CatalogSettings {
    let section = root.section("catalog", "How models are named.");
    let match_slug = section.parse(
        "match",
        (false, "\"exact\""),
        "\"exact\" or \"slug\"",
        "\"slug\": after an exact miss, the slug of the lower-cased name is looked up, as FIRST does; it counts where it names one endpoint.",
        |text| match text {
            "exact" => Ok(false),
            "slug" => Ok(true),
            _ => Err(quoted(text)),
        },
    );
    let settings = CatalogSettings {
        match_slug,
        model_details_keys: section.texts(
            "model_details_keys",
            &[],
            "Keys of an endpoint's `config` that `GET /{cluster}/models` shows.",
        ),
        aliases: plain(section.text_map(
            "aliases",
            "`\"other-name\" = \"Canonical/Name\"`: further names of a model, on every cluster.",
        )),
    };
    section.finish();
    settings
}

type Maintenance = (
    BTreeMap<String, String>,
    BTreeMap<String, MaintenanceSource>,
);

pub(super) fn read_maintenance(root: &Section<'_>, reading: &Reading<'_>) -> Maintenance {
    let section = root.section(
        "maintenance",
        "`CLUSTER = \"text shown to users\"`: its inference answers 503 with that text; \"\" means none.",
    );
    // A cluster may be called "source" too: it has a text, not a section.
    let sources = section
        .section_if_table("source", "Pages that say whether a cluster is up.")
        .map_or_else(BTreeMap::new, |section| {
            section
                .into_sections("One cluster's page. While it cannot be reached, nothing changes.")
                .into_iter()
                .map(|(cluster, section)| {
                    let source = read_source(&cluster, section, reading);
                    (cluster, source)
                })
                .collect()
        });
    let mut texts = plain(section.into_texts());
    texts.retain(|_, text| !text.trim().is_empty());
    (texts, sources)
}

fn read_source(cluster: &str, section: Section<'_>, reading: &Reading<'_>) -> MaintenanceSource {
    let source = MaintenanceSource {
        url: section.text("url", "", "The page, JSON; required."),
        field: section.text(
            "field",
            "current_status",
            "The field of the page that tells the state.",
        ),
        down: section.texts(
            "down",
            &["down"],
            "The field's values that mean maintenance.",
        ),
        interval: section.duration(
            "interval",
            Duration::from_secs(60),
            "How often the page is asked.",
        ),
    };
    section.finish();
    let key = format!("maintenance.source.{cluster}");
    if source.url.is_empty() {
        reading.fatal(&key, "needs a `url`");
    } else if let Err(fault) = HttpUrl::parse_bare(&source.url) {
        reading.fatal(&format!("{key}.url"), &fault.to_string());
    }
    if source.down.is_empty() {
        reading.fatal(
            &format!("{key}.down"),
            "is empty: nothing would ever count as down",
        );
    }
    source
}

fn plain(texts: BTreeMap<String, Text>) -> BTreeMap<String, String> {
    texts
        .into_iter()
        .map(|(key, text)| (key, text.value))
        .collect()
}
