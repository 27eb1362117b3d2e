use super::site::Site;

#[test]
fn a_notice_is_kept_in_the_database_until_it_is_cleared() {
    let site = Site::new();
    for (words, said) in [
        (
            &["set", "sophia", "back on Monday"][..],
            "sophia is under maintenance\n",
        ),
        (
            &[
                "set",
                "all",
                "network works",
                "--from",
                "2h",
                "--until",
                "4h",
            ],
            "from 2",
        ),
        (
            &["set", "model:org/model", "moves", "--until", "2099-01-02"],
            "model:org/model is under maintenance until 2099-01-02T00:00:00Z\n",
        ),
    ] {
        let words: Vec<&str> = ["maintenance"].iter().chain(words).copied().collect();
        let set = site.run(&words);
        assert_eq!(set.code, Some(0), "{set:?}");
        assert!(set.stdout.contains(said), "{set:?}");
    }
    let listed = site.run(&["maintenance", "list"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    for (name, state) in [
        ("sophia", "maintenance"),
        ("all", "planned"),
        ("model:org/model", "maintenance"),
    ] {
        let line = listed.stdout.lines().find(|line| line.starts_with(name));
        assert!(
            line.is_some_and(|line| line.contains(state)),
            "{name}: {listed:?}"
        );
    }
    for (words, named) in [
        (&["set", "sofia", "text"][..], "sophia"),
        (&["set", "model:none", "text"], "org/model"),
        (&["set", "sophia", ""], ""),
        (
            &["set", "sophia", "text", "--from", "3h", "--until", "2h"],
            "--until",
        ),
    ] {
        let words: Vec<&str> = ["maintenance"].iter().chain(words).copied().collect();
        let wrong = site.run(&words);
        assert_eq!(wrong.code, Some(64), "{wrong:?}");
        assert!(wrong.stderr.contains(named), "{wrong:?}");
    }
    for said in ["no longer", "had no notice"] {
        let cleared = site.run(&["maintenance", "clear", "sophia"]);
        assert_eq!(cleared.code, Some(0), "{cleared:?}");
        assert!(cleared.stdout.contains(said), "{cleared:?}");
    }
}
