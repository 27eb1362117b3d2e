use super::{CLUSTERS, ENDPOINTS, Folder, assert_problem};

/// A folder with two certificates and their keys, `one` and `two`.
fn folder(config: &str) -> Folder {
    let endpoints = ENDPOINTS.replace(
        r#"{"api_url": "http://127.0.0.1:9/v1"}"#,
        &format!(r#"{{"api_url": "https://h/v1", {config}}}"#),
    );
    let sound = ENDPOINTS
        .trim_start_matches('[')
        .trim_end_matches(']')
        .replace(r#""M""#, r#""N""#);
    let mut folder = Folder::new()
        .file("fixtures/endpoints.json", endpoints)
        .file(
            "fixtures/clusters.json",
            format!("{}, {sound}]", CLUSTERS.trim_end_matches(']')),
        );
    for name in ["one", "two"] {
        let made = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap();
        folder = folder
            .file(&format!("fixtures/{name}.pem"), made.cert.pem())
            .file(
                &format!("fixtures/{name}.key"),
                made.signing_key.serialize_pem(),
            );
    }
    // Sound PEM around something that is not a certificate.
    folder.file(
        "fixtures/odd.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
}

#[test]
fn files_of_an_endpoint_fit_together() {
    let sound =
        r#""ca_cert_path": "two.pem", "client_cert_path": "one.pem", "client_key_path": "one.key""#;
    assert_eq!(folder(sound).problems(), Vec::<String>::new());
    for (config, piece) in [
        (
            r#""client_cert_path": "one.pem", "client_key_path": "two.key""#,
            "two.key` is not the key of the first certificate in",
        ),
        (
            r#""ca_cert_path": "odd.pem""#,
            "odd.pem` cannot be checked: it is not a certificate",
        ),
    ] {
        let folder = folder(config);
        let loaded = folder.load();
        let problems = folder.shown(&loaded);
        assert_problem(&problems, "fixtures/endpoints.json:2:", piece, config);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(!loaded.fatal(false), "{problems:#?}");
    }
}

#[test]
fn files_of_the_listener_fit_together() {
    let listener = |cert: &str, key: &str| {
        let text =
            format!("[server]\ntls_cert = \"fixtures/{cert}\"\ntls_key = \"fixtures/{key}\"");
        folder(r#""weight": 1"#).file("ostia.toml", text).problems()
    };
    assert_eq!(listener("one.pem", "one.key"), Vec::<String>::new());
    let problems = listener("one.pem", "two.key");
    assert_problem(&problems, "ostia.toml:3:11: error", "is not the key", "");
    assert_eq!(problems.len(), 1, "{problems:#?}");
}
