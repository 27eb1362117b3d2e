use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;

use super::site::Site;

/// The complete answer to a GET on a connection of its own.
pub fn answer(address: &str, path: &str, key: &str) -> String {
    answer_with(address, path, key, "")
}

/// Like [`answer`]; `more`: further lines of the head.
fn answer_with(address: &str, path: &str, key: &str, more: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    let credentials = match key {
        "" => String::new(),
        key => format!("Authorization: Bearer {key}\r\n"),
    };
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{credentials}{more}\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn ok(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ")
}

#[test]
fn it_serves_takes_new_keys_and_ends_with_0() {
    let site = Site::new();
    let gateway = site.serve(&[]);
    let ready = gateway.event("ostia listens");
    assert_eq!(ready["endpoints"], 1);
    let address = ready["listen"].as_str().unwrap();
    let admin = ready["admin"].as_str().unwrap();
    assert!(ok(&answer(address, "/health", "")));
    assert!(ok(&answer(admin, "/health/ready", "")));

    let made = site.json(&["key", "create", "--user", "ann@lab.org", "--json"]);
    let key = made["key"].as_str().unwrap();
    let whoami = answer(address, "/whoami", key);
    assert!(ok(&whoami) && whoami.contains("ann@lab.org"), "{whoami}");
    assert!(answer(address, "/whoami", "").starts_with("HTTP/1.1 401 "));

    gateway.signal(Signal::HUP);
    gateway.event("the files were read again");
    gateway.signal(Signal::USR1);
    gateway.signal(Signal::PIPE);
    assert!(ok(&answer(address, "/health", "")));
    gateway.signal(Signal::TERM);
    gateway.event("stopping");
    assert_eq!(gateway.code(), Some(0));
}

#[test]
fn the_listen_option_wins_over_file_and_variables() {
    let site = Site::new();
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = reserved.local_addr().unwrap();
    site.write("vars", &format!("OSTIA_SERVER__LISTEN={taken}\n"));
    let gateway = site.serve(&["--env-file", "vars", "--listen", "127.0.0.1:0"]);
    let ready = gateway.event("ostia listens");
    assert_ne!(ready["listen"], taken.to_string());
    gateway.signal(Signal::INT);
    assert_eq!(gateway.code(), Some(0));
}

#[test]
fn a_local_proxy_that_is_not_trusted_is_told_of_once() {
    let site = Site::new();
    let gateway = site.serve(&[]);
    let ready = gateway.event("ostia listens");
    let address = ready["listen"].as_str().unwrap();
    for _ in 0..3 {
        let more = "X-Forwarded-For: 192.0.2.7\r\n";
        let refused = answer_with(address, "/whoami", "", more);
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    }
    gateway.signal(Signal::TERM);
    let warnings: Vec<_> = gateway
        .events_until("stopped")
        .into_iter()
        .filter(|event| event["level"] == "WARN")
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let text = warnings[0]["message"].as_str().unwrap();
    assert!(text.contains("trusted_proxies = [\"127.0.0.1\"]"), "{text}");
    assert_eq!(gateway.code(), Some(0));
}

#[test]
fn a_port_in_use_is_named() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = site.run(&["serve", "--listen", &address]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last: serde_json::Value =
        serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(
        last["message"].as_str().unwrap().contains(&address),
        "{last}"
    );
    assert_eq!(ended.stdout, "");
}

#[test]
fn an_unsound_configuration_starts_nothing() {
    for (text, place) in [
        ("[server]\ncolour = 1\n", "ostia.toml:2:1"),
        ("[server\n", "ostia.toml:1:"),
        ("[fixtures]\nclusters = \"none.json\"\n", "none.json"),
    ] {
        let site = Site::new();
        site.write("ostia.toml", text);
        let ended = site.run(&["serve"]);
        assert_eq!(ended.code, Some(78), "{text}: {ended:?}");
        assert!(ended.stderr.contains(place), "{text}: {}", ended.stderr);
        // Neither the database nor the journal was created, so it did not get near opening a socket.
        assert!(!site.path("ostia.db").exists(), "{text}");
        assert_eq!(
            std::fs::read_dir(site.path("state")).unwrap().count(),
            0,
            "{text}"
        );
    }
}

#[test]
fn a_faulty_entry_stops_a_strict_start_only() {
    let site = Site::new();
    let endpoints = std::fs::read_to_string(site.path("endpoints.json")).unwrap();
    let mut list: serde_json::Value = serde_json::from_str(&endpoints).unwrap();
    let mut other = list[0].clone();
    other["fields"]["model"] = "other".into();
    other["fields"]["config"]["api_key_env_name"] = "NOWHERE_SET".into();
    list.as_array_mut().unwrap().push(other);
    site.write("endpoints.json", &list.to_string());

    let strict = site.run(&["serve", "--strict"]);
    assert_eq!(strict.code, Some(78), "{strict:?}");
    assert!(strict.stderr.contains("NOWHERE_SET"), "{}", strict.stderr);
    let gateway = site.serve(&[]);
    assert_eq!(gateway.event("ostia listens")["endpoints"], 1);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
}

#[test]
fn every_request_has_an_access_event_whatever_became_of_it() {
    let site = Site::new();
    let gateway = site.serve(&[]);
    let ready = gateway.event("ostia listens");
    let address = ready["listen"].as_str().unwrap();
    let admin = ready["admin"].as_str().unwrap();
    for (address, path, more, route, status) in [
        (address, "/health", "", "/health", 200),
        (address, "/whoami", "", "/whoami", 401),
        (address, "/nowhere/at/all", "", "none", 404),
        (address, "/health", "Host: two\r\n", "none", 400),
        (admin, "/metrics", "", "/metrics", 200),
        (admin, "/nowhere", "", "none", 404),
        (admin, "/metrics", "Host: two\r\n", "none", 400),
    ] {
        answer_with(address, path, "", more);
        let event = gateway.event("access");
        assert_eq!(
            (&event["route"], &event["status"]),
            (&route.into(), &status.into())
        );
        for member in ["request_id", "user_id", "origin_ip", "duration"] {
            assert!(!event[member].is_null(), "{path}: {event}");
        }
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
}

/// The answer to a chat.
fn chat(address: &str, key: &str, model: &str) -> String {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}]}}"#);
    let mut socket = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Authorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// A backend that answers one chat, with 100 tokens.
fn backend() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        // The body is the one that `chat` sends, under another model's name at most.
        while !asked.windows(3).any(|bytes| bytes == b"}]}") {
            let mut piece = [0; 4096];
            let count = socket.read(&mut piece).unwrap();
            assert!(count > 0, "the request was cut off");
            asked.extend_from_slice(&piece[..count]);
        }
        let body = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Hello."}}],"usage":{"prompt_tokens":60,"completion_tokens":40,"total_tokens":100}}"#;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        socket
            .write_all(format!("{head}{body}").as_bytes())
            .unwrap();
    });
    format!("http://{address}/v1")
}

#[test]
fn an_access_event_says_who_asked_for_what_and_which_limit_refused_it() {
    let site = Site::new();
    let endpoints = std::fs::read_to_string(site.path("endpoints.json")).unwrap();
    let mut list: serde_json::Value = serde_json::from_str(&endpoints).unwrap();
    list[0]["fields"]["config"]["api_url"] = backend().into();
    site.write("endpoints.json", &list.to_string());
    let toml = std::fs::read_to_string(site.path("ostia.toml")).unwrap();
    let limits = "[limits]\ntpm_user = 50\nqueue_timeout = \"0\"\n";
    site.write("ostia.toml", &format!("{toml}{limits}"));
    let made = site.json(&["key", "create", "--user", "ann@lab.org", "--json"]);
    let key = made["key"].as_str().unwrap();
    let gateway = site.serve(&[]);
    let ready = gateway.event("ostia listens");
    let address = ready["listen"].as_str().unwrap();

    let answered = chat(address, key, "org/model");
    assert!(ok(&answered), "{answered}");
    let body = answered.split_once("\r\n\r\n").unwrap().1;
    let event = gateway.event("access");
    for (member, value) in [
        ("method", "POST".into()),
        ("path", "/v1/chat/completions".into()),
        ("api", "chat/completions".into()),
        ("model", "org/model".into()),
        ("endpoint", "sophia-vllm-orgmodel".into()),
        ("username", "ann@lab.org".into()),
        ("key_id", made["id"].clone()),
        ("status", 200.into()),
        ("bytes", body.len().into()),
        ("code", serde_json::Value::Null),
    ] {
        assert_eq!(event[member], value, "{member}: {event}");
    }
    assert!(event["ttft_ms"].is_u64(), "{event}");

    let refused = chat(address, key, "org/model");
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    let event = gateway.event("access");
    assert_eq!(
        (&event["code"], &event["model"]),
        (&"tokens".into(), &"org/model".into())
    );
    let detail = event["detail"].as_str().unwrap();
    let limit = "limit user_endpoint tokens_per_minute: 50, used ";
    assert!(
        detail.starts_with(limit) && detail.contains(", free in "),
        "{detail}"
    );
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
}
