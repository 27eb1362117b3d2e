use super::site::{Site, ostia};

#[test]
fn help_and_version_are_no_failure() {
    for words in [
        &["--help"][..],
        &["--version"],
        &["serve", "--help"],
        &["key", "create", "--help"],
        &["help", "usage"],
    ] {
        let ended = ostia(words);
        assert_eq!(ended.code, Some(0), "{words:?}");
        assert!(!ended.stdout.is_empty(), "{words:?}");
        assert_eq!(ended.stderr, "", "{words:?}");
    }
}

#[test]
fn wrong_words_end_with_64() {
    for words in [
        &[][..],
        &["bogus"],
        &["serve", "--bogus"],
        &["serve", "--listen", "8000"],
        &["slug", "a", "b"],
        &["key"],
        &["key", "create"],
        &["key", "create", "--user", "ann"],
        &["key", "create", "--user", "ann@lab@org"],
        &[
            "key",
            "create",
            "--user",
            "ann@lab.org",
            "--expires",
            "soon",
        ],
        &["key", "create", "--user", "ann@lab.org", "--group", ""],
        &["usage", "--since", "yesterday"],
        &["usage", "--by", "colour"],
        &["usage", "--format", "xml"],
        &["--log-format", "xml", "slug", "a", "b", "c"],
        &["man", "bogus"],
    ] {
        let site = Site::empty();
        let ended = site.run(words);
        assert_eq!(ended.code, Some(64), "{words:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{words:?}");
        assert!(!ended.stderr.is_empty(), "{words:?}");
        assert!(site.names().is_empty(), "{words:?}");
    }
}

#[test]
fn a_log_filter_that_cannot_be_read_ends_with_64() {
    let ended = Site::empty().run_with(&[("OSTIA_LOG", "ostia=loud")], &["key", "list"]);
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("ostia=loud"), "{}", ended.stderr);
}

#[test]
fn slugs() {
    for (words, slug) in [
        (
            [
                "my-cluster",
                "my-framework",
                "meta-llama/Meta-Llama-3.1-70B-Instruct",
            ],
            "my-cluster-my-framework-meta-llamameta-llama-31-70b-instruct",
        ),
        (["-a", "--b", "-1"], "a-b-1"),
        (["C", "F", "-M"], "c-f-m"),
    ] {
        for words in [
            [&["slug"], &words[..]].concat(),
            [&["slug", "--"], &words[..]].concat(),
            [&["slug"], &words[..], &["--config", "x"]].concat(),
            [&["--config", "x", "slug"], &words[..]].concat(),
        ] {
            let ended = ostia(&words);
            assert_eq!(ended.stdout, format!("{slug}\n"), "{words:?}: {ended:?}");
            assert_eq!(ended.code, Some(0));
        }
    }
}

#[test]
fn completions_and_manual_pages_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = ostia(&["completions", shell]);
        assert_eq!(ended.code, Some(0));
        assert!(ended.stdout.contains("revoke"), "{shell}");
    }
    let ended = ostia(&["man"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.contains(".TH ostia 1"), "{}", ended.stdout);
    let page = ostia(&["man", "key", "create"]).stdout;
    assert!(page.contains(".TH ostia-key-create 1"), "{page}");
    assert!(page.contains("expires"), "{page}");
}
