//! A wrong configuration stops the start: exit 78, the place is named, no secret is shown, nothing is done (R77).

use ostia_core::SystemClock;
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::gateway::{Process, Site, TestGateway};

use crate::binary;

const SECRET: &str = "canary-that-nobody-may-read-0123456789";

/// The file, the text to replace in it (empty: all of it), the replacement, and what the log must say.
const BAD: &[(&str, &str, &str, &[&str])] = &[
    ("ostia.toml", "[auth]", "[auth", &["ostia.toml:"]),
    (
        "ostia.toml",
        "[auth]",
        "[auth]\ncolour = 1",
        &["ostia.toml:", "colour"],
    ),
    (
        "ostia.toml",
        "[limits]",
        "[limits]\nrequests = 1",
        &["ostia.toml:", "requests"],
    ),
    (
        "ostia.toml",
        "tpm_user = 0",
        "tpm_user = -1",
        &["ostia.toml:", "tpm_user"],
    ),
    (
        "ostia.toml",
        "[limits]",
        "[auth.globus]\nclient_secret = [\"canary-that-nobody-may-read-0123456789\"]\n[limits]",
        &["ostia.toml:", "client_secret"],
    ),
    (
        "ostia.toml",
        "\"api_key\"",
        "\"passwords\"",
        &["ostia.toml:", "providers"],
    ),
    (
        "ostia.toml",
        "\"api_key\"",
        "\"api_key\", \"none\"",
        &["ostia.toml:", "none"],
    ),
    (
        "ostia.toml",
        "\"127.0.0.1:0\"",
        "\"nowhere\"",
        &["ostia.toml:", "listen"],
    ),
    (
        "ostia.toml",
        "sqlite://",
        "mongodb://user:canary-that-nobody-may-read-0123456789@",
        &["ostia.toml:", "url"],
    ),
    (
        "ostia.toml",
        "\"clusters.json\"",
        "\"absent.json\"",
        &["absent.json"],
    ),
    ("endpoints.json", "", "[{", &["endpoints.json:1:"]),
    ("endpoints.json", "", "{}", &["endpoints.json:1:"]),
    ("endpoints.json", "", "[]", &[]),
    ("clusters.json", "", "not json", &["clusters.json:1:"]),
    (
        "clusters.json",
        "\"cluster_name\":\"lab\"",
        "\"cluster_name\":\"v1\"",
        &["clusters.json:1:", "v1"],
    ),
];

#[tokio::test]
async fn what_cannot_be_right_is_78_and_nothing_listens() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend);
    site.prepare(&SystemClock).await;
    let names = || {
        let entries = std::fs::read_dir(site.folder()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // The database was opened to make the key; it may or may not be closed yet.
        let mut names: Vec<_> = names.filter(|name| !name.contains("db-")).collect();
        names.sort();
        names
    };
    let before = names();
    for (file, what, by, told) in BAD {
        let path = site.folder().join(file);
        let sound = std::fs::read_to_string(&path).unwrap();
        let bad = match *what {
            "" => (*by).to_owned(),
            what => sound.replacen(what, by, 1),
        };
        assert_ne!(bad, sound, "{what} is not in {file}");
        std::fs::write(&path, bad).unwrap();
        let (status, log) = Process::spawn(binary(), &site).ended().await;
        assert_eq!(status.code(), Some(78), "{file} {by}: {log}");
        for words in *told {
            assert!(log.contains(words), "{words} is not in {log}");
        }
        assert!(
            !log.contains("ostia listens") && !log.contains(SECRET),
            "{by}: {log}"
        );
        assert_eq!(names(), before, "{by}: files were made");
        std::fs::write(&path, sound).unwrap();
    }
    assert_eq!(backend.counts().connections, 0);
    let gateway = Process::start(binary(), &site).await;
    TestGateway::around(site, gateway).finish(&[&backend]).await;
}
