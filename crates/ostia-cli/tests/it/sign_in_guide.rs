use super::site::Site;

const GUIDE: &str = include_str!("../../../../docs/sign-in.md");

/// The indented blocks of the guide that begin with this line.
fn blocks(first: &str) -> Vec<String> {
    let paragraphs = GUIDE.split("\n\n");
    let indented = paragraphs.filter(|text| text.starts_with(&format!("    {first}")));
    indented
        .map(|text| {
            text.lines()
                .map(|line| line.trim_start())
                .collect::<Vec<_>>()
                .join("\n")
        })
        .collect()
}

#[test]
fn every_block_of_settings_is_sound() {
    let blocks = blocks("[auth]");
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        let site = Site::new();
        let before = std::fs::read_to_string(site.path("ostia.toml")).unwrap();
        site.write("ostia.toml", &format!("{before}\n{block}\n"));
        let secrets = [("GLOBUS_SECRET", "s"), ("IDP_SECRET", "s")];
        let ended = site.run_with(&secrets, &["check"]);
        assert_eq!(ended.code, Some(0), "{block}\n{ended:?}");
        // A missing secret is reported.
        let without = site.run(&["check"]);
        assert_eq!(
            without.code == Some(0),
            !block.contains("env:"),
            "{without:?}"
        );
    }
}
