use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use ostia_core::{Secret, is_loopback};

use super::super::memory;
use super::super::reader::{Reading, Section, quoted};
use super::super::tls_files::{check_certificates, check_key, check_pair};
use crate::catalog::{HttpUrl, Scheme};
use crate::routes::is_origin;
use crate::settings::{
    ClientTimeouts, ConnectionLimits, DrainTimes, JournalSettings, ListenAddress, Reports,
    RetentionSettings, Server, StoreSettings,
};

/// The budget for buffered bodies if the machine's memory is unknown.
const FALLBACK_BUFFERED: u64 = 256 << 20;

pub(super) fn read_server(root: &Section<'_>, reading: &Reading<'_>) -> Server {
    let section = root.section(
        "server",
        "Where the gateway listens, and how much it accepts.",
    );
    let (listen, admin_listen) = addresses(&section, reading);
    let base_path = section.parse(
        "base_path",
        ("/resource_server".to_owned(), "\"/resource_server\""),
        "a path such as \"/resource_server\", or \"\"",
        "A prefix of every public route; each route also exists without it.",
        base_path,
    );
    let max_body_bytes = section.size(
        "max_body_bytes",
        32 << 20,
        "The largest request body; a larger one gets 413.",
    );
    let server = Server {
        listen,
        admin_listen,
        admin_hosts: section.texts(
            "admin_hosts",
            &[],
            "Host names that the admin listener answers to, besides localhost, addresses and the machine's own name; others get 403.",
        ),
        base_path,
        max_body_bytes,
        max_buffered_bytes: section.size_or(
            "max_buffered_bytes",
            (
                default_buffered(max_body_bytes),
                "a quarter of the machine's (or container's) memory",
            ),
            "One budget for all request bodies in flight; beyond it 503 `gateway_busy`.",
        ),
        client_timeouts: client_timeouts(&section),
        connections: connection_limits(&section),
        drain: drain_times(&section),
        public_url: public_url(&section, reading),
        trusted_proxies: trusted_proxies(&section, reading),
        cors_origins: cors_origins(&section, reading),
        tls_cert: section.optional_file(
            "tls_cert",
            "Certificate chain in PEM; turns on TLS for `listen`. Needs `tls_key`.",
        ),
        tls_key: section.optional_file("tls_key", "The certificate's private key in PEM."),
        state_dir: section.path_or(
            "state_dir",
            ".",
            "The folder of the journal, of maintenance notices and of the token for commands; one running gateway each.",
        ),
        auto_reload: section.flag(
            "auto_reload",
            false,
            "Whether changed files are reloaded automatically, once they have not changed for 5 s.",
        ),
    };
    section.finish();
    check_server(&server, reading);
    server
}

/// The listen addresses for users and for operators.
fn addresses(section: &Section<'_>, reading: &Reading<'_>) -> (ListenAddress, ListenAddress) {
    let users = read_listen(
        section,
        "listen",
        8000,
        "The address for users: an address with a port, or a Unix socket.",
        reading,
    );
    let admin = read_listen(
        section,
        "admin_listen",
        8001,
        "The address for health and metrics, which need no key: never one that users can reach.",
        reading,
    );
    (users, admin)
}

fn client_timeouts(section: &Section<'_>) -> ClientTimeouts {
    ClientTimeouts {
        header: section.duration(
            "header_timeout",
            Duration::from_secs(10),
            "How long TLS and the first head may take together, and each later head from its first byte on.",
        ),
        idle: section.duration(
            "idle_timeout",
            Duration::from_secs(75),
            "How long a client connection may be idle between two requests; announced as `Keep-Alive`.",
        ),
        body_idle: section.duration(
            "body_idle_timeout",
            Duration::from_secs(30),
            "At least 4 KiB of a request body, or its end, must arrive in each period of this length; else 408.",
        ),
        write_idle: section.duration(
            "write_idle_timeout",
            Duration::from_secs(60),
            "How long a client may read nothing of its answer before the connection is closed.",
        ),
    }
}

fn connection_limits(section: &Section<'_>) -> ConnectionLimits {
    ConnectionLimits {
        all: section.number(
            "max_connections",
            10_000,
            (1, 10_000_000),
            "Concurrent client connections; further ones get 503, or are closed at once under TLS.",
        ),
        per_address: section.number(
            "connections_per_address",
            256,
            (1, 10_000_000),
            "How many of them may come from one address (IPv6: one /64), at most half of all. Does not apply to loopback and `trusted_proxies`; behind those, each forwarded address may have this many concurrent requests.",
        ),
    }
}

fn drain_times(section: &Section<'_>) -> DrainTimes {
    DrainTimes {
        limit: section.duration_or_zero(
            "drain_timeout",
            Duration::from_secs(120),
            "How long running requests may go on after SIGTERM; \"0\" cuts them at once.",
        ),
        grace: section.duration_or_zero(
            "drain_grace",
            Duration::from_secs(5),
            "How long it still listens after SIGTERM while it reports that it is not ready, so that load balancers notice.",
        ),
    }
}

/// Browsers are sent there, and cookies hold for it: everybody between must be kept out.
fn public_url(section: &Section<'_>, reading: &Reading<'_>) -> String {
    let url = section.text(
        "public_url",
        "",
        "The URL under which people reach the gateway, such as `https://ai.lab.org`; needed for the pages and for signing in on them.",
    );
    let url = url.trim_end_matches('/').to_owned();
    if url.is_empty() {
        return url;
    }
    let fault = match HttpUrl::parse_bare(&url) {
        Err(fault) => fault.to_string(),
        Ok(parsed) if parsed.query.is_some() => "has a query: remove it".to_owned(),
        Ok(parsed) if parsed.origin.scheme == Scheme::Http && !is_loopback(&parsed.origin.host) => {
            "must be https:// (plain http:// is for loopback only)".to_owned()
        }
        Ok(_) => return url,
    };
    reading.fatal("server.public_url", &fault);
    String::new()
}

fn default_buffered(max_body_bytes: u64) -> u64 {
    memory::available()
        .map_or(FALLBACK_BUFFERED, |bytes| bytes / 4)
        .max(max_body_bytes)
}

fn check_server(server: &Server, reading: &Reading<'_>) {
    if server.max_buffered_bytes < server.max_body_bytes {
        let text =
            "is less than `server.max_body_bytes`: no request of that size could ever be read";
        reading.fatal("server.max_buffered_bytes", text);
    }
    if server.listen == server.admin_listen && !is_port_zero(&server.listen) {
        let text = "is the same address as `server.listen`: give it another port";
        reading.fatal("server.admin_listen", text);
    }
    let (cert, key) = (&server.tls_cert, &server.tls_key);
    if let Some(Err(fault)) = cert.as_deref().map(check_certificates) {
        reading.fatal("server.tls_cert", &format!("names a file: {fault}"));
    }
    if let Some(Err(fault)) = key.as_deref().map(check_key) {
        reading.fatal("server.tls_key", &format!("names a file: {fault}"));
    }
    match (cert, key) {
        (Some(_), None) => reading.fatal("server.tls_cert", "needs `server.tls_key` beside it"),
        (None, Some(_)) => reading.fatal("server.tls_key", "needs `server.tls_cert` beside it"),
        (Some(cert), Some(key)) => {
            if let Err(fault) = check_pair(cert, key) {
                reading.fatal("server.tls_key", &format!("names a file: {fault}"));
            }
        }
        (None, None) => {}
    }
}

const fn is_port_zero(address: &ListenAddress) -> bool {
    matches!(address, ListenAddress::Tcp(address) if address.port() == 0)
}

fn read_listen(
    section: &Section<'_>,
    key: &'static str,
    default_port: u16,
    meaning: &'static str,
    reading: &Reading<'_>,
) -> ListenAddress {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, default_port));
    let wanted = "an address such as \"127.0.0.1:8000\", \"[::]:8000\" or \"unix:/path\"";
    let shown = format!("\"{default}\"");
    let default = (ListenAddress::Tcp(default), shown.as_str());
    section.parse(key, default, wanted, meaning, |text| {
        listen_address(text, reading)
    })
}

fn listen_address(text: &str, reading: &Reading<'_>) -> Result<ListenAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() {
            Err("no path after `unix:`".to_owned())
        } else {
            Ok(ListenAddress::Unix(reading.path(path)))
        };
    }
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    match numeric.parse() {
        Ok(address) => Ok(ListenAddress::Tcp(address)),
        Err(_) if text.starts_with(':') => Err(format!("write `0.0.0.0{text}` for all addresses")),
        Err(_) => Err(quoted(text)),
    }
}

fn base_path(text: &str) -> Result<String, String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let segment_sound = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
            })
    };
    let sound = path.is_empty()
        || path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(segment_sound));
    if !sound {
        return Err(quoted(text));
    }
    let first = path.split('/').nth(1).unwrap_or("");
    if first != "resource_server" && crate::routes::RESERVED_CLUSTERS.contains(&first) {
        return Err(format!("`/{first}` is one of the gateway's own routes"));
    }
    Ok(path.to_owned())
}

fn trusted_proxies(section: &Section<'_>, reading: &Reading<'_>) -> Vec<IpNet> {
    let list = section.list(
        "trusted_proxies",
        &[],
        "Addresses and networks (CIDR) whose X-Forwarded-For is trusted.",
    );
    let mut networks = Vec::new();
    for text in list {
        let network = text.value.parse::<IpNet>();
        match network.or_else(|_| text.value.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) if network.prefix_len() == 0 => reading.report.fatal(
                text.at.place(),
                "`server.trusted_proxies` would trust everyone's X-Forwarded-For: name the proxies' own addresses",
            ),
            Ok(network) => networks.push(network),
            Err(_) => {
                let shown = text.shown();
                reading.report.fatal(
                    text.at.place(),
                    &format!("`server.trusted_proxies`: {shown} is neither an address nor a network such as 10.0.0.0/8"),
                );
            }
        }
    }
    networks
}

fn cors_origins(section: &Section<'_>, reading: &Reading<'_>) -> Vec<String> {
    let list = section.list(
        "cors_origins",
        &[],
        "Origins whose pages may call from a browser, such as \"https://chat.example\"; \"*\" is every one.",
    );
    let mut origins = Vec::new();
    for text in list {
        let sound = text.value == "*" || is_origin(&text.value);
        if sound {
            origins.push(text.value);
            continue;
        }
        let shown = text.shown();
        let fault = format!("`server.cors_origins`: {shown} {}", no_origin(&text.value));
        reading.report.fatal(text.at.place(), &fault);
    }
    origins
}

/// Why a text is not an origin, and what to write.
fn no_origin(text: &str) -> &'static str {
    const ORIGIN: &str = "is not an origin: write `https://host`, or `app://host` for any other scheme, without a path or \
                          slash behind it";
    let lower = text.trim().to_ascii_lowercase();
    let is_of = |scheme: &&str| {
        lower
            .strip_prefix(*scheme)
            .is_some_and(|rest| rest.starts_with(':'))
    };
    let has_no_origin = ["file", "data", "blob", "about", "javascript"]
        .iter()
        .any(is_of);
    let web = ["http://", "https://"]
        .iter()
        .find_map(|scheme| lower.strip_prefix(scheme));
    match web {
        _ if lower == "null" || has_no_origin => {
            "cannot be allowed: a page from a file has no origin of its own, and browsers send `null` for it, as any page \
             can. Serve the page by a web server, such as `python3 -m http.server`, and write that server's origin"
        }
        Some(host) if host.contains('*') => {
            "is not an origin: write each host, or `*` alone for every page"
        }
        None if !lower.contains("://") => {
            "has no scheme: write `https://` before the host, as browsers do"
        }
        _ => ORIGIN,
    }
}

pub(super) fn read_store(root: &Section<'_>, reading: &Reading<'_>) -> StoreSettings {
    let section = root.section("store", "Where keys, users and the ledger are kept.");
    let url = section.text(
        "url",
        "sqlite://ostia.db",
        "`sqlite://PATH`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE` for several replicas. Behind `?` may stand what \
         libpq knows by the same name: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `host` (a folder with a socket), and \
         `statement-cache-capacity=0` for pgbouncer in transaction mode. `ostia db migrate` makes the tables there.",
    );
    section.finish();
    let url = store_url(&url, &reading.folder).unwrap_or_else(|| {
        let text =
            "must be sqlite:// and the path of a file, without options, or postgres:// and a host";
        reading.fatal("store.url", text);
        url
    });
    StoreSettings {
        url: Secret::new(url),
    }
}

/// The store's URL with an absolute path, so that it means the same in whatever folder the process runs.
fn store_url(url: &str, folder: &Path) -> Option<String> {
    if let Some(rest) = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"))
    {
        return (!rest.is_empty()).then(|| format!("postgres://{rest}"));
    }
    // With a ledger in memory, `ostia key` and `ostia usage` would see a different one.
    let path = url.strip_prefix("sqlite://")?;
    if path.is_empty() || path.starts_with(':') || path.contains('?') {
        return None;
    }
    let path = std::path::absolute(folder.join(path)).ok()?;
    Some(format!("sqlite://{}", path.display()))
}

pub(super) fn read_reports(root: &Section<'_>, reading: &Reading<'_>) -> Reports {
    let section = root.section("reports", "How usage is reported.");
    let timezone = section.text(
        "timezone",
        "UTC",
        "Whose days and months reports have: a name such as `Europe/Berlin`. To change it where there are rows, run \
         `ostia db migrate`.",
    );
    section.finish();
    let timezone = match TimeZone::get(&timezone) {
        Ok(_) => timezone,
        Err(_) => {
            let text =
                "is not a time zone: write a name such as UTC, Europe/Berlin or America/Chicago";
            reading.fatal("reports.timezone", text);
            "UTC".to_owned()
        }
    };
    Reports { timezone }
}

pub(super) fn read_retention(root: &Section<'_>) -> RetentionSettings {
    let section = root.section(
        "retention",
        "How long the ledger and the audit log keep data. `serve` prunes once a day, `ostia prune` at once.",
    );
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    let retention = RetentionSettings {
        ledger_personal: section.duration(
            "ledger_personal",
            days(400),
            "How long rows and sums name persons. Then they have pseudonyms, and rows lose the key and the client's own id.",
        ),
        addresses: section.duration("addresses", days(30), "How long rows keep the client's address."),
        rollups: section.duration("rollups", days(3_650), "How long rows and sums are kept at all."),
        audit: section.duration("audit", days(400), "How long audit events are kept. The newest one always is."),
    };
    section.finish();
    retention
}

pub(super) fn read_journal(root: &Section<'_>) -> JournalSettings {
    let section = root.section(
        "journal",
        "The files in `state_dir` that every request is written to before it reaches a backend.",
    );
    let fsync = section.duration_or_off(
        "fsync",
        Duration::from_secs(1),
        "How often the journal is synced to the disk, which limits what a power failure may lose. Off leaves it to the kernel.",
    );
    section.finish();
    JournalSettings { fsync }
}

/// What this version does not do. A site that asks for it must not believe that it has it.
pub(super) fn read_telemetry(root: &Section<'_>, reading: &Reading<'_>) {
    let section = root.section(
        "telemetry",
        "Names that are kept for later versions; this one refuses them.",
    );
    let traces = section.text(
        "otlp_endpoint",
        "",
        "This version sends no traces: anything but \"\" is an error. `/metrics` and the log have the same times.",
    );
    let prompts = section.flag(
        "log_prompts",
        false,
        "Prompts are never logged: `true` is an error.",
    );
    section.finish();
    if !traces.is_empty() {
        reading.fatal(
            "telemetry.otlp_endpoint",
            "is not supported: this version sends no traces. Leave it out; `/metrics` has the latencies",
        );
    }
    if prompts {
        reading.fatal(
            "telemetry.log_prompts",
            "is not supported: prompts are never logged. Leave it out",
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{base_path, store_url};

    #[test]
    fn base_paths() {
        for (text, path) in [
            ("", ""),
            ("/", ""),
            ("/a/", "/a"),
            ("/a/b.c", "/a/b.c"),
            ("/resource_server", "/resource_server"),
        ] {
            assert_eq!(base_path(text).as_deref(), Ok(path), "{text}");
        }
        for bad in [
            "a", "//", "/a//b", "/../a", "/a b", "/a?b", "/v1", "/admin/x",
        ] {
            assert!(base_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn store_urls_are_made_absolute() {
        let folder = Path::new("/etc/ostia");
        for (text, url) in [
            ("sqlite://ostia.db", Some("sqlite:///etc/ostia/ostia.db")),
            ("sqlite:///var/x.db", Some("sqlite:///var/x.db")),
            ("sqlite:///var/x.db?mode=rwc", None),
            ("sqlite://:memory:", None),
            ("postgresql://u:p@h/db", Some("postgres://u:p@h/db")),
            ("postgres://", None),
            ("sqlite://", None),
            ("mysql://h/db", None),
            ("ostia.db", None),
        ] {
            assert_eq!(store_url(text, folder).as_deref(), url, "{text}");
        }
    }
}
