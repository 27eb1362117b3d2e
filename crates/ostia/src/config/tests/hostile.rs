use proptest::prelude::*;

use super::{CLUSTERS, ENDPOINTS, Folder};

/// A sound fixture with some of its bytes changed: most of it still parses.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let sound = format!(
        "{}{}",
        CLUSTERS.trim_end_matches(']'),
        ENDPOINTS.replacen('[', ",", 1)
    );
    let change = (any::<prop::sample::Index>(), any::<u8>());
    prop::collection::vec(change, 0..6).prop_map(move |changes| {
        let mut bytes = sound.clone().into_bytes();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_fixtures_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let folder = Folder::new().file("fixtures/endpoints.json", bytes);
        let loaded = folder.load();
        prop_assert!(loaded.errors().next().is_some());
    }

    #[test]
    fn damaged_fixtures_never_panic(bytes in damaged()) {
        let folder = Folder::new()
            .file("fixtures/clusters.json", bytes)
            .file("fixtures/endpoints.json", "[]");
        let loaded = folder.load();
        for problem in &loaded.problems {
            prop_assert!(!problem.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn arbitrary_settings_never_panic(text in r#"[\[\]="'a-z._0-9{}, \n#]{0,80}"#) {
        Folder::new().file("ostia.toml", text).load();
    }

    #[test]
    fn sound_looking_settings_never_panic(
        section in "(server|auth|limits|upstream|catalog|maintenance|store)",
        key in "(listen|providers|tpm_user|connect_timeout|match|url|source|aliases)",
        value in r#"("[ -~]{0,12}"|[0-9.-]{1,6}|\[("[a-z]{0,3}",?){0,3}\]|\{ a = 1 \})"#,
    ) {
        let toml = format!("[{section}]\n{key} = {value}\n");
        Folder::new().file("ostia.toml", toml).load();
    }
}
