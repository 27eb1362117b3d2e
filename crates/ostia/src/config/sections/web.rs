use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::super::reader::{Reading, Section};
use super::super::source::check_readable;
use crate::settings::{Server, Terms, Web};

const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn read(root: &Section<'_>, server: &Server, reading: &Reading<'_>) -> Web {
    let section = root.section("web", "The pages for people and operators; see pages.md.");
    let enabled = section.flag(
        "enabled",
        !server.public_url.is_empty(),
        "Whether there are pages. By default once `server.public_url` is set.",
    );
    let web = Web {
        enabled,
        session_ttl: section.duration(
            "session_ttl",
            12 * HOUR,
            "How long somebody stays signed in.",
        ),
        session_idle: section.duration(
            "session_idle",
            2 * HOUR,
            "How long somebody stays signed in without a request.",
        ),
        admin_session_ttl: section.duration(
            "admin_session_ttl",
            HOUR,
            "How long after signing in the pages of operators are shown; then they sign in again.",
        ),
        admin_networks: networks(&section, reading),
        public_status: section.flag(
            "public_status",
            false,
            "Whether the status page is shown without signing in.",
        ),
        terms: terms(section.section(
            "terms",
            "A text that people accept before their first key, and again when its version changes.",
        )),
        contact: section.text(
            "contact",
            "",
            "Whom people ask for help: an e-mail address or an https:// URL.",
        ),
    };
    section.finish();
    if web.enabled && server.public_url.is_empty() {
        let text = "needs `server.public_url`: where people reach the gateway, such as \"https://ai.lab.org\"";
        reading.fatal("web.enabled", text);
    }
    web
}

fn networks(section: &Section<'_>, reading: &Reading<'_>) -> Vec<IpNet> {
    let listed = section.list(
        "admin_networks",
        &[],
        "Addresses and networks (CIDR) from which the pages of operators are shown on the public listener too; on the admin listener they always are.",
    );
    let read = listed.into_iter().filter_map(|text| {
        let network = text.value.parse::<IpNet>();
        let network = network.or_else(|_| text.value.parse::<IpAddr>().map(IpNet::from));
        if network.is_err() {
            let shown = text.shown();
            let fault = format!(
                "`web.admin_networks`: {shown} is neither an address nor a network such as 10.0.0.0/8"
            );
            reading.report.fatal(text.at.place(), &fault);
        }
        network.ok()
    });
    read.collect()
}

fn terms(section: Section<'_>) -> Option<Terms> {
    let file = section.optional_file(
        "file",
        "The text, as plain UTF-8; an empty line begins a paragraph.",
    );
    let version = section.text(
        "version",
        "",
        "Its version: people accept each version once.",
    );
    let terms = file.and_then(|path| match check_readable(&path) {
        Ok(bytes) => Some(Terms {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            version: version.clone(),
        }),
        Err(fault) => {
            section.error(
                "file",
                &format!("names a file that cannot be read: {fault}"),
            );
            None
        }
    });
    match (&terms, version.is_empty()) {
        (Some(_), true) => section.error(
            "version",
            "is missing: people accept a version of the terms",
        ),
        (None, false) => section.error("file", "is missing: the text of the terms"),
        _ => {}
    }
    section.finish();
    terms
}
