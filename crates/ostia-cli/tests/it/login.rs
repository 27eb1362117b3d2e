use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ostia_testkit::client::{RawClient, Request};
use ostia_testkit::idp::{CLIENT_ID, FakeIdp, Mood};
use tempfile::TempDir;

/// A person with a home folder, and an issuer.
struct Person {
    home: TempDir,
    idp: FakeIdp,
}

impl Person {
    async fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            idp: FakeIdp::start().await,
        }
    }

    fn ostia(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ostia"));
        command
            .args(words)
            .env_clear()
            .env("HOME", self.home.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn login(&self, way: &str) -> Child {
        let issuer = self.idp.base_url();
        let words = [
            "login",
            "--issuer",
            &issuer,
            "--client-id",
            CLIENT_ID,
            "--way",
            way,
        ];
        self.ostia(&words).spawn().unwrap()
    }

    /// Runs to the end, beside the issuer; returns the exit code and stdout.
    async fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = self.ostia(words);
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        let ended = ended.await.unwrap();
        (
            ended.status.code(),
            String::from_utf8(ended.stdout).unwrap(),
        )
    }

    fn file(&self) -> std::path::PathBuf {
        self.home.path().join(".config/ostia/login.json")
    }

    async fn browse(&self, address: &str) -> serde_json::Value {
        let target = address.strip_prefix(&self.idp.base_url()).unwrap();
        let mut client = RawClient::connect(self.idp.address()).await;
        client.call(&Request::get(target)).await.json()
    }
}

/// The first line of stderr that contains `part`, and the reader for the rest.
async fn line_with(child: &mut Child, part: &'static str) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let find = move || {
        let found = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(part)));
        // The process must be able to go on writing.
        std::thread::spawn(move || lines.for_each(drop));
        found.unwrap().unwrap()
    };
    tokio::task::spawn_blocking(find).await.unwrap()
}

async fn end(mut child: Child) -> Option<i32> {
    let waiting = tokio::task::spawn_blocking(move || {
        let code = child.wait().unwrap().code();
        let mut rest = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        assert_eq!(rest, "");
        code
    });
    waiting.await.unwrap()
}

async fn get(address: &str) -> u16 {
    let rest = address.strip_prefix("http://").unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    let mut client = RawClient::connect(host.parse().unwrap()).await;
    client.call(&Request::get(target)).await.status()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_on_this_machine_signs_in() {
    let person = Person::new().await;
    assert_eq!(person.run(&["token"]).await, (Some(1), String::new()));
    let mut login = person.login("loopback");
    let address = line_with(&mut login, "/authorize?").await;
    let location = person.browse(&address).await["location"]
        .as_str()
        .unwrap()
        .to_owned();
    // The answer to another attempt is ignored, and the right one still counts after it.
    let (callback, _) = location.split_once('?').unwrap();
    assert_eq!(
        get(&format!("{callback}?code=stolen&state=guess")).await,
        404
    );
    assert_eq!(get(&location).await, 200);
    assert_eq!(end(login).await, Some(0));
    assert_eq!(
        (mode(&person.file()), mode(person.file().parent().unwrap())),
        (0o600, 0o700)
    );

    // The issuer's tokens are short-lived: each use refreshes, and a refresh token works once.
    let (code, first) = person.run(&["token"]).await;
    assert!(code == Some(0) && first.starts_with("access-"), "{first}");
    let (_, second) = person.run(&["token"]).await;
    assert!(second.starts_with("access-") && first != second, "{second}");

    assert_eq!(person.run(&["logout"]).await, (Some(0), String::new()));
    assert!(!person.file().exists());
    assert!(person.idp.calls_to("/revoke") >= 1);
    assert_eq!(person.run(&["token"]).await.0, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_elsewhere_signs_in() {
    let person = Person::new().await;
    let mut login = person.login("device");
    let line = line_with(&mut login, "ABCD-EFGH").await;
    assert!(line.contains("any browser"), "{line}");
    // Discovery, the code, and a poll without a result.
    person.idp.reached(3).await;
    person.idp.approve_device();
    assert_eq!(end(login).await, Some(0));
    assert!(person.run(&["token"]).await.1.starts_with("access-"));
}

/// Globus shows the code on a page of its own, and the user pastes it.
#[tokio::test(flavor = "multi_thread")]
async fn globus_s_code_is_pasted() {
    let person = Person::new().await;
    let words = [
        "login",
        "--issuer",
        "globus",
        "--client-id",
        CLIENT_ID,
        "--scope",
        "https://gw/all",
        "--policy",
        "one",
        "--policy",
        "two",
    ];
    let mut command = person.ostia(&words);
    command
        .env("GLOBUS_SDK_SERVICE_URL_AUTH", person.idp.base_url())
        .stdin(Stdio::piped());
    let mut login = command.spawn().unwrap();
    let address = line_with(&mut login, "/authorize?").await;
    assert!(
        address.contains("auth-code") && address.contains("code_challenge_method=S256"),
        "{address}"
    );
    assert!(
        address.contains("session_required_policies=one%2Ctwo"),
        "{address}"
    );
    let location = person.browse(&address).await["location"]
        .as_str()
        .unwrap()
        .to_owned();
    let (_, code) = location.split_once("code=").unwrap();
    let code = code.split('&').next().unwrap();
    let mut stdin = login.stdin.take().unwrap();
    stdin.write_all(format!("  {code}\n").as_bytes()).unwrap();
    assert_eq!(end(login).await, Some(0));
    assert!(person.run(&["token"]).await.1.starts_with("access-"));
    // The code alone is worthless: redeeming it needs the secret behind the challenge.
    let exchange = person
        .idp
        .calls()
        .into_iter()
        .find(|call| call.path == "/token")
        .unwrap();
    assert_eq!(exchange.form.get("code_verifier").map(str::len), Some(43));
    // The policies are remembered like the rest.
    let mut again = person.ostia(&["login"]);
    again.env("GLOBUS_SDK_SERVICE_URL_AUTH", person.idp.base_url());
    let mut again = again.spawn().unwrap();
    let address = line_with(&mut again, "/authorize?").await;
    assert!(
        address.contains("session_required_policies=one%2Ctwo"),
        "{address}"
    );
    assert_eq!(end(again).await, Some(1));
    // Another issuer has no such page.
    assert_eq!(end(person.login("code")).await, Some(64));
}

/// A signed-in user asks a gateway for their identity, and is finally signed out, whatever the issuer answers.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_knows_who_signed_in() {
    let person = Person::new().await;
    let site = super::site::Site::new();
    let base = person.idp.base_url();
    let secret = person.idp.secret().secret();
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nstate_dir = \"state\"\n\
         [fixtures]\nclusters = \"clusters.json\"\nendpoints = \"endpoints.json\"\n\
         [auth]\nproviders = [\"introspection\"]\n[auth.introspection]\nurl = \"{base}/introspect\"\n\
         client_id = \"{CLIENT_ID}\"\nclient_secret = \"{secret}\"\n"
    );
    site.write("ostia.toml", &settings);
    let gateway = site.serve(&[]);
    let url = format!(
        "http://{}",
        gateway.event("ostia listens")["listen"].as_str().unwrap()
    );
    for n in 0..20 {
        let said = serde_json::json!({"active": true, "sub": "ann", "username": "ann@lab.org", "exp": 4_000_000_000_u64});
        person.idp.introspected(&format!("access-{n}"), said);
    }
    let login = person.login("device");
    person.idp.approve_device();
    assert_eq!(end(login).await, Some(0));
    let (code, shown) = person.run(&["whoami", "--url", &url]).await;
    assert_eq!(code, Some(0));
    let me: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(me["username"], "ann@lab.org");
    // No gateway was named.
    assert_eq!(person.run(&["whoami"]).await.0, Some(64));
    person.idp.revoke_all();
    assert_eq!(person.run(&["whoami", "--url", &url]).await.0, Some(1));

    // A gateway's text is shown, but its control characters have no effect.
    let hostile = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hostile.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut peer, _) = hostile.accept().unwrap();
        let mut head = [0; 4_096];
        assert!(peer.read(&mut head).unwrap() > 0);
        let body = r#"{"error": {"message": "\u001b[31mgo away"}}"#;
        let length = body.len();
        let head = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {length}\r\n\r\n");
        peer.write_all((head + body).as_bytes()).unwrap();
    });
    let mut command = person.ostia(&["whoami", "--url", &url]);
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    answering.join().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.contains(r"\u{1b}[31mgo away"), "{told}");

    person.idp.be(Mood::Status(503));
    let mut command = person.ostia(&["logout"]);
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(
        ended.status.success() && told.contains("could not be told"),
        "{told}"
    );
    assert!(!person.file().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_do_not_travel_in_clear() {
    let person = Person::new().await;
    let words = [
        "login",
        "--issuer",
        "http://idp.example",
        "--client-id",
        "c",
    ];
    assert_eq!(person.run(&words).await.0, Some(64));
    assert_eq!(person.run(&["login"]).await.0, Some(64));
}

/// With a screen, the address is passed to the opener. With `--no-browser` and over ssh, the user opens it.
#[tokio::test(flavor = "multi_thread")]
async fn the_browser_is_opened_where_there_is_a_screen() {
    let person = Person::new().await;
    let opener = person.home.path().join("xdg-open");
    let opened = person.home.path().join("opened");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$#\" \"$1\" > '{0}.new'\n/bin/mv '{0}.new' '{0}'\n",
        opened.display()
    );
    std::fs::write(&opener, script).unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).unwrap();
    let issuer = person.idp.base_url();
    let login = |more: &[&'static str], variables: &[(&str, &str)]| {
        let words = ["login", "--issuer", &issuer, "--client-id", CLIENT_ID];
        let words = [&words[..], &["--way", "loopback"], more].concat();
        let mut command = person.ostia(&words);
        command
            .env("PATH", person.home.path())
            .env("DISPLAY", ":0")
            .envs(variables.iter().copied());
        command.spawn().unwrap()
    };
    for (more, variables) in [
        (&["--no-browser"][..], &[][..]),
        (&[], &[("SSH_CONNECTION", "192.0.2.7 1 192.0.2.8 22")]),
        (&[], &[("DISPLAY", "")]),
    ] {
        let mut quiet = login(more, variables);
        let address = line_with(&mut quiet, "/authorize?").await;
        let location = person.browse(&address).await["location"].clone();
        assert_eq!(get(location.as_str().unwrap()).await, 200);
        assert_eq!(end(quiet).await, Some(0));
        assert!(!opened.exists(), "{more:?} {variables:?}");
    }
    let mut shown = login(&[], &[]);
    let told = line_with(&mut shown, "opens in your browser").await;
    assert!(told.contains("copy it there"), "{told}");
    let address = loop {
        match std::fs::read_to_string(&opened) {
            Ok(text) => break text,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    // One argument: the address.
    let address = address.strip_prefix("1\n").unwrap().trim_end();
    let location = person.browse(address).await["location"].clone();
    assert_eq!(get(location.as_str().unwrap()).await, 200);
    assert_eq!(end(shown).await, Some(0));
}
