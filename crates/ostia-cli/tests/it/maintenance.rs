use super::site::Site;

#[test]
fn a_notice_is_kept_in_the_state_folder_until_it_is_cleared() {
    let site = Site::new();
    let set = site.run(&["maintenance", "set", "sophia", "back on Monday"]);
    assert_eq!(set.code, Some(0), "{set:?}");
    let file = site.path("state").join("maintenance.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("back on Monday"), "{kept}");

    let unknown = site.run(&["maintenance", "set", "sofia", "text"]);
    assert_eq!(unknown.code, Some(64), "{unknown:?}");
    assert!(unknown.stderr.contains("sophia"), "{unknown:?}");
    let empty = site.run(&["maintenance", "set", "sophia", ""]);
    assert_eq!(empty.code, Some(64), "{empty:?}");

    for said in ["no longer", "had no notice"] {
        let cleared = site.run(&["maintenance", "clear", "sophia"]);
        assert_eq!(cleared.code, Some(0), "{cleared:?}");
        assert!(cleared.stdout.contains(said), "{cleared:?}");
    }
}
