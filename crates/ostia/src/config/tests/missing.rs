use super::{Folder, assert_problem};

#[test]
fn files_that_are_named_must_be_there() {
    let folder = Folder::new().without("ostia.toml");
    assert_problem(
        &folder.problems(),
        "ostia.toml: error",
        "does not exist",
        "",
    );
    assert!(folder.load().fatal(false));
    let mut folder = Folder::new();
    folder.env_files.push("site.env");
    assert_problem(
        &folder.problems(),
        "site.env: error",
        "--env-file names it",
        "",
    );
    assert!(folder.load().fatal(false));
    let folder = Folder::new().file("ostia.toml", b"# \xff\n".as_slice());
    assert_problem(&folder.problems(), "ostia.toml:1:3: error", "not UTF-8", "");
}
