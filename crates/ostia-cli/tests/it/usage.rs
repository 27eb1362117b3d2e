use std::borrow::Cow;

use ostia_core::{LedgerRow, Outcome, RequestId};
use serde_json::json;

use super::site::Site;

const COUNTS: &str =
    "requests,ok,errors,prompt_tokens,completion_tokens,total_tokens,refused,failed";
/// 2026-11-23T12:00:00Z.
const NOON: i64 = 1_795_435_200_000_000;
const DAY: i64 = 86_400_000_000;

/// A site whose ledger has these rows: user, model, days after [`NOON`], outcome, tokens.
async fn site(rows: &[(&str, &str, i64, Outcome, u64)]) -> Site {
    let site = Site::empty();
    let url = format!("sqlite://{}", site.path("ostia.db").display());
    let store = ostia_store::open(&url).await.unwrap();
    let rows: Vec<LedgerRow<'_>> = rows
        .iter()
        .map(|&(user, model, day, outcome, tokens)| LedgerRow {
            request_id: RequestId::at(NOON + day * DAY),
            started_at: NOON + day * DAY,
            username: Cow::Borrowed(user),
            model: Cow::Borrowed(model),
            outcome,
            total_tokens: tokens,
            count: 1,
            ..LedgerRow::default()
        })
        .collect();
    store.insert_rows(&rows).await.unwrap();
    site
}

#[tokio::test]
async fn an_empty_ledger_has_headings_in_each_format() {
    let site = site(&[]).await;
    for (words, expected) in [
        (
            &["usage", "--format", "csv"][..],
            format!("user,model,{COUNTS}\n"),
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
            format!("day,cluster,{COUNTS}\n"),
        ),
        (
            &["usage", "--by", "cluster", "--since", "2026-01-31"],
            "CLUSTER  REQUESTS  OK  REFUSED  FAILED  PROMPT  OUTPUT  TOKENS\n\
             total           0   0        0       0       0       0       0\n"
                .to_owned(),
        ),
    ] {
        let ended = site.run(words);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stdout, expected);
    }
    for words in [["--format", "json"].as_slice(), &["--json"]] {
        assert_eq!(site.json(&[&["usage"], words].concat()), json!([]));
    }
}

#[tokio::test]
async fn lines_are_chosen_sorted_and_added_up() {
    let site = site(&[
        ("ann@lab.org", "small", 0, Outcome::Ok, 5),
        ("ann@lab.org", "small", 1, Outcome::Rejected, 0),
        ("ann@lab.org", "large", 1, Outcome::UpstreamError, 7),
        ("bo@lab.org", "large", 2, Outcome::ClientClosed, 90),
    ])
    .await;
    let usage = |words: &[&str]| {
        let ended = site.run(&[&["usage", "--since", "2026-11-01"], words].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let lines = ended.stdout.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.join(" ")
        });
        lines.collect::<Vec<_>>()
    };
    let all = [
        "USER MODEL REQUESTS OK REFUSED FAILED PROMPT OUTPUT TOKENS",
        "ann@lab.org large 1 0 0 1 0 0 7",
        "ann@lab.org small 2 1 1 0 0 0 5",
        "bo@lab.org large 1 0 0 0 0 0 90",
        "total 4 1 1 1 0 0 102",
    ];
    assert_eq!(usage(&[]), all);
    let top = usage(&["--by", "user", "--sort", "total_tokens", "--top", "1"]);
    assert_eq!(top[1], "bo@lab.org 1 0 0 0 0 0 90");
    assert_eq!(top[2], "(1 more) 3 1 1 1 0 0 12");
    assert_eq!(top[3], all[4]);
    let user = usage(&["--user", "bo@lab.org"]);
    assert_eq!(user[1..], [all[3], "total 1 0 0 0 0 0 90"]);
    let until = usage(&["--until", "2026-11-24", "--by", "day"]);
    assert_eq!(
        until[1..],
        ["2026-11-23 1 1 0 0 0 0 5", "total 1 1 0 0 0 0 5"]
    );
    let outcomes = usage(&["--by", "outcome,month"]);
    assert_eq!(outcomes[1], "client_closed 2026-11 1 0 0 0 0 0 90");
    let wrong = site.run(&["usage", "--sort", "colour"]);
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
    assert!(wrong.stderr.contains("total_tokens"), "{wrong:?}");
}

#[tokio::test]
async fn a_terminal_that_is_wider_shows_more() {
    let (user, model) = ("a".repeat(40), "m".repeat(40));
    let site = site(&[(&user, &model, 0, Outcome::Ok, 5)]).await;
    let words = ["usage", "--since", "2026-11-01"];
    let narrow = site.run(&words).stdout;
    assert!(
        narrow.lines().all(|line| line.chars().count() <= 80),
        "{narrow}"
    );
    assert!(
        !narrow.contains(&user) && narrow.contains("TOKENS"),
        "{narrow}"
    );
    let wide = site.run_on_terminal(160, &[], &words);
    assert!(wide.contains(&user) && wide.contains("PROMPT"), "{wide}");
}
