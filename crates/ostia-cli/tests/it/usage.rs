use serde_json::json;

use super::site::Site;

#[test]
fn an_empty_ledger_has_headings_in_each_format() {
    let site = Site::empty();
    let counts = "requests,ok,errors,prompt_tokens,completion_tokens,total_tokens";
    for (words, expected) in [
        (
            &["usage", "--format", "csv"][..],
            format!("user,model,{counts}\n"),
        ),
        (
            &[
                "usage",
                "--format",
                "csv",
                "--by",
                "day,cluster,day",
                "--since",
                "12h",
            ],
            format!("day,cluster,{counts}\n"),
        ),
        (
            &["usage", "--by", "cluster", "--since", "2026-01-31"],
            format!("CLUSTER  {}\n", counts.to_uppercase().replace(',', "  ")),
        ),
    ] {
        let ended = site.run(words);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stdout, expected);
    }
    assert_eq!(site.json(&["usage", "--format", "json"]), json!([]));
}
