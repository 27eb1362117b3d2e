//! Runs every `ostia ...` command in README.md and the documents as it is printed, in the order of its page.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ostia_testkit::backend::{FakeBackend, Script};
use rustix::process::{Pid, Signal};
use serde_json::json;

use super::pages::{Block, blocks, top};
use super::site::Site;

/// Commands that need a sign-in: tests/it/login.rs runs them with an identity provider.
const SIGN_IN: [&str; 5] = [
    "ostia login --issuer globus --client-id CLIENT --scope SCOPE --policy POLICY --url https://gateway.example",
    "ostia login --issuer globus --client-id ID --scope SCOPES --url https://gateway.example",
    "export OPENAI_API_KEY=$(ostia token)",
    "ostia whoami",
    "ostia logout",
];

/// What pages assume about their readers' site: the models, clusters and files that commands name.
const SETTINGS: &str = r#"
[[clusters]]
cluster_name = "north"
frameworks = ["vllm"]
openai_endpoints = ["chat/completions", "responses", "messages"]
[[clusters]]
cluster_name = "sophia"
frameworks = ["vllm"]
openai_endpoints = ["chat/completions"]
"#;
/// Commands that call a running gateway.
const ASKING: [&str; 6] = ["reload", "drain", "undrain", "agent", "status", "upgrade"];
const MODELS: [&str; 5] = ["gpt-4o-mini", "project-model", "M", "org/big", "org/model"];

/// Every page for people.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "SECURITY.md".to_owned()];
    for entry in std::fs::read_dir(top().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages.sort();
    pages
}

/// Commands that call `ostia`, with continued lines joined. Leaves out what a root shell does with the output.
fn commands(block: &Block) -> Vec<String> {
    let is_shell = matches!(block.language.as_str(), "" | "sh" | "bash");
    let whole = block.lines.join("\n").replace("\\\n", " ");
    whole
        .lines()
        .map(str::trim)
        .filter(|line| is_shell && !line.starts_with("alias "))
        .filter(|line| line.starts_with("ostia ") || line.contains("$(ostia "))
        .map(|line| line.split(" | sudo ").next().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_printed_command_runs() {
    let backend = FakeBackend::start().await;
    let list = json!({"data": [{"id": "meta-llama/Llama-3.1-8B-Instruct", "owned_by": "vllm"}]});
    backend.on_path("/v1/models", Script::json(200, &list));
    let (mut run, mut signing_in, mut failed) = (0, Vec::new(), Vec::new());
    for page in pages() {
        let reader = Reader::new(&backend);
        for block in blocks(&page) {
            for line in commands(&block) {
                if SIGN_IN.contains(&line.as_str()) {
                    signing_in.push(line);
                    continue;
                }
                let followed = tokio::task::block_in_place(|| reader.follow(&line));
                failed.extend(followed.err().map(|told| format!("{page}: {line}: {told}")));
                run += 1;
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(run >= 25, "{run}");
    signing_in.sort();
    let mut expected = SIGN_IN.map(str::to_owned);
    expected.sort();
    assert_eq!(signing_in, expected);
}

/// Somebody who reads a page from its beginning.
struct Reader {
    site: Site,
    backend: String,
}

impl Reader {
    fn new(backend: &FakeBackend) -> Self {
        let site = Site::empty();
        let backend = backend.base_url();
        let mut settings = SETTINGS.to_owned();
        for model in MODELS {
            settings.push_str(&format!(
                "[[endpoints]]\ncluster = \"north\"\nframework = \"vllm\"\nmodel = \"{model}\"\napi_url = \"{backend}/v1\"\n"
            ));
        }
        site.write("site.toml", &settings);
        site.write("secrets.env", "PROVIDER_KEY=sk-x\n");
        site.write(".env", "PROVIDER_KEY=sk-x\n");
        let entry = |kind: &str, fields| json!([{"model": format!("resource_server_async.{kind}"), "pk": 1, "fields": fields}]);
        let cluster = entry(
            "cluster",
            json!({"cluster_name": "metis", "frameworks": ["api"], "openai_endpoints": ["chat/completions"]}),
        );
        let endpoint = entry(
            "endpoint",
            json!({"cluster": "metis", "framework": "api", "model": "of-the-fixtures", "config": {"api_url": backend}}),
        );
        std::fs::create_dir_all(site.path("fixtures")).unwrap();
        site.write("fixtures/clusters.json", &cluster.to_string());
        site.write("fixtures/endpoints.json", &endpoint.to_string());
        std::fs::create_dir(site.path("adapters")).unwrap();
        site.write("adapters/custom.rhai", "fn on_request(ctx) {}");
        site.write("request.json", "{}");
        symlink(env!("CARGO_BIN_EXE_ostia"), site.path("ostia")).unwrap();
        let binary = site.path("ostia").metadata().unwrap();
        assert!(binary.permissions().mode() & 0o111 != 0);
        std::fs::create_dir_all(site.path("backup")).unwrap();
        std::fs::create_dir_all(site.path("replica-3/journal")).unwrap();
        Self { site, backend }
    }

    /// Runs a command in a shell. Only addresses differ from the page: the backend's, and a gateway's ports. `Err`: the
    /// command's output.
    fn follow(&self, line: &str) -> Result<(), String> {
        let target = self.site.path("ostia.toml");
        if line.contains(" init ") || line.contains(" import ") {
            // The page has not created the file so far.
            let _ = std::fs::remove_file(target);
        } else {
            std::fs::copy(self.site.path("site.toml"), target).unwrap();
        }
        let line = self.with_ids(&self.with_stand_ins(line));
        if let Some(words) = line.strip_prefix("ostia serve") {
            let words: Vec<&str> = words.split_whitespace().collect();
            return self.serve(&words);
        }
        let ended = match ASKING
            .iter()
            .any(|word| line.starts_with(&format!("ostia {word}")))
        {
            true => self.beside_a_gateway(&line),
            false => shell(&self.site.path(""), &line).output().unwrap(),
        };
        match ended.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&ended.stderr).into_owned()),
        }
    }

    /// Replaces the page's addresses and paths by local ones. Any database may stand for another.
    fn with_stand_ins(&self, line: &str) -> String {
        let here = |name: &str| self.site.path(name).display().to_string();
        line.replace("http://127.0.0.1:8080", &self.backend)
            .replace("/var/lib/ostia/ostia.db", &here("ostia.db"))
            .replace(
                "postgres://ostia@db.example.org/ostia",
                &format!("sqlite://{}", here("other.db")),
            )
            .replace("/backup/", &here("backup/"))
            .replace("/mnt/replica-3/state/journal", &here("replica-3/journal"))
    }

    /// Runs a command while a gateway of this site serves, with a key for it in the environment.
    fn beside_a_gateway(&self, line: &str) -> Output {
        let gateway = self.site.serve(&["--listen", "127.0.0.1:0"]);
        let listens = gateway.event("ostia listens");
        let made = self
            .site
            .json(&["key", "create", "--user", "ann@lab.org", "--json"]);
        let address = listens["listen"].as_str().unwrap();
        let line = line.replace("https://gateway.example", &format!("http://{address}"));
        let ended = shell(&self.site.path(""), &line)
            .env("OSTIA_API_KEY", made["key"].as_str().unwrap())
            .env("HOME", self.site.path(""))
            .output()
            .unwrap();
        match successor(&ended.stdout) {
            Some(pid) => rustix::process::kill_process(pid, Signal::TERM).unwrap(),
            None => gateway.signal(Signal::TERM),
        }
        assert_eq!(gateway.code(), Some(0), "{line}");
        ended
    }

    /// Replaces ID by the id of a key.
    fn with_ids(&self, line: &str) -> String {
        if !line.split(' ').any(|word| word == "ID") {
            return line.to_owned();
        }
        let made = self
            .site
            .json(&["key", "create", "--user", "ann@lab.org", "--json"]);
        line.replace("ID", made["id"].as_str().unwrap())
    }

    fn serve(&self, words: &[&str]) -> Result<(), String> {
        // The port on the page may be taken here.
        let mut words: Vec<&str> = words.to_vec();
        match words.iter().position(|word| *word == "--listen") {
            Some(at) => words[at + 1] = "127.0.0.1:0",
            None => words.extend(["--listen", "127.0.0.1:0"]),
        }
        let admin = [("OSTIA_SERVER__ADMIN_LISTEN", "127.0.0.1:0")];
        let gateway = self.site.serve_with(&admin, &words);
        gateway.event("ostia listens");
        gateway.signal(Signal::TERM);
        match gateway.code() {
            Some(0) => Ok(()),
            code => Err(format!("exit code {code:?}")),
        }
    }
}

/// The process that took over, according to `ostia upgrade`.
fn successor(told: &[u8]) -> Option<Pid> {
    let told = String::from_utf8_lossy(told);
    let (pid, _) = told
        .strip_prefix("process ")?
        .split_once(" has taken over")?;
    Pid::from_raw(pid.parse().ok()?)
}

fn shell(folder: &Path, line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", line])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// The queries on the ledger that pages print, for `sqlite3` or in a block of their own.
#[tokio::test]
async fn every_printed_question_to_the_ledger_is_answered() {
    let site = Site::empty();
    let url = format!("sqlite://{}", site.path("ostia.db").display());
    drop(ostia_store::open(&url).await.unwrap());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(site.path("ostia.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let mut asked = 0;
    for page in pages() {
        for block in blocks(&page) {
            let text = block.lines.join(" ");
            let mut questions: Vec<&str> = text
                .split("ostia.db \"")
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap())
                .collect();
            if text.starts_with("SELECT ") {
                questions.push(&text);
            }
            for question in questions
                .iter()
                .filter(|question| question.starts_with("SELECT"))
            {
                let answer = sqlx::query(sqlx::AssertSqlSafe((*question).to_owned()));
                answer
                    .fetch_all(&pool)
                    .await
                    .unwrap_or_else(|error| panic!("{page}: {question}: {error}"));
                asked += 1;
            }
        }
    }
    assert!(asked >= 3, "{asked}");
}

/// The repository's programs that pages name exist and can be started.
#[test]
fn every_printed_script_exists() {
    let mut found = 0;
    for page in pages() {
        for block in blocks(&page) {
            for line in &block.lines {
                let first = line.trim().split(' ').next().unwrap_or_default();
                let Some(name) = first
                    .strip_prefix("./")
                    .or(Some(first))
                    .filter(|name| name.starts_with("scripts/"))
                else {
                    continue;
                };
                let mode = top()
                    .join(name)
                    .metadata()
                    .unwrap_or_else(|_| panic!("{page}: {name}"))
                    .permissions()
                    .mode();
                assert!(mode & 0o111 != 0, "{page}: {name}");
                found += 1;
            }
        }
    }
    assert!(found >= 5, "{found}");
}

/// A test that a page names exists.
#[test]
fn every_test_that_a_page_names_exists() {
    let page = std::fs::read_to_string(top().join("docs/conformance.md")).unwrap();
    let (_, table) = page
        .split_once("## What users of gateways reported")
        .unwrap();
    let mut code = String::new();
    read_rust(&top().join("crates"), &mut code);
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split(" | ").nth(1));
    let names: Vec<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(names.len() > 40, "{names:?}");
    let page = std::fs::read_to_string(top().join("docs/reliability.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| R"));
    let cells = rows.filter_map(|row| row.split(" | ").nth(2));
    // Some cells name a file or a script.
    let shown = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let shown: Vec<&str> = shown.filter(|name| !name.contains(['/', 'G'])).collect();
    assert!(shown.len() > 90, "{shown:?}");
    for name in names.into_iter().chain(shown) {
        assert!(code.contains(&format!("fn {name}(")), "{name}");
    }
}

fn read_rust(folder: &Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_rust(&path, code);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            code.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}
