use std::collections::BTreeMap;

use super::*;

/// As much of a browser as pages need: cookies, forms, and redirects on request.
pub struct Browser<'a> {
    gateway: &'a TestGateway,
    address: std::net::SocketAddr,
    pub host: String,
    pub cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub fn new(gateway: &'a TestGateway) -> Self {
        Self {
            gateway,
            address: gateway.address(),
            host: "localhost:8000".to_owned(),
            cookies: BTreeMap::new(),
        }
    }

    /// A browser that uses the admin listener.
    pub fn of_admin(gateway: &'a TestGateway) -> Self {
        let address = gateway.admin_address();
        Self {
            address,
            host: address.to_string(),
            ..Self::new(gateway)
        }
    }

    pub async fn send(&mut self, request: Request) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = request
            .without("host")
            .header("Host", &self.host)
            .header("Accept", "text/html");
        if !cookies.is_empty() {
            request = request.header("Cookie", &cookies.join("; "));
        }
        let mut client = ostia_testkit::client::RawClient::connect(self.address).await;
        let answer = client.call(&request).await;
        self.gateway.note(&answer);
        self.take_cookies(&answer);
        answer
    }

    fn take_cookies(&mut self, answer: &Answer) {
        for line in cookies_of(answer) {
            let (pair, rest) = line.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match rest.contains("Max-Age=0;") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path)).await
    }

    /// Submits the form of the page at `from`, with these fields changed.
    pub async fn submit(&mut self, from: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get(from).await.text();
        let token = token(&page);
        let fields: Vec<_> = fields.iter().copied().chain([("token", &*token)]).collect();
        self.send(form(path, &fields)).await
    }

    /// Signs in with a key.
    pub async fn enter(&mut self, key: &str) -> Answer {
        self.submit("/ui/login", "/ui/login/key", &[("key", key)])
            .await
    }

    /// Signs in through a provider: the gateway's redirect, the provider, and back.
    pub async fn enter_by(&mut self, idp: &FakeIdp) -> Answer {
        let back = self.back_from(idp).await;
        self.get(&back).await
    }

    /// The path to which the provider sends the browser back.
    pub async fn back_from(&mut self, idp: &FakeIdp) -> String {
        let page = self.get("/ui/login").await.text();
        let door = between(&page, "href=\"/ui/login/", "\"");
        let sent = self.get(&format!("/ui/login/{door}")).await;
        assert_eq!(sent.status(), 303, "{}", sent.text());
        let address = sent.header("location").unwrap().to_owned();
        let (_, path) = address.split_once(&idp.base_url()).unwrap();
        let mut client = ostia_testkit::client::RawClient::connect(idp.address()).await;
        let request = Request::get(path).header("Accept", "text/html");
        let agreed = client.call(&request).await;
        assert_eq!(agreed.status(), 302, "{}", agreed.text());
        let back = agreed.header("location").unwrap();
        back.strip_prefix(PUBLIC).unwrap().to_owned()
    }
}

pub fn form(path: &str, fields: &[(&str, &str)]) -> Request {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(fields);
    Request::post(path)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body.finish())
}

pub fn token(page: &str) -> String {
    between(page, "name=\"token\" value=\"", "\"").to_owned()
}

pub fn between<'t>(text: &'t str, before: &str, behind: &str) -> &'t str {
    let rest = text.split_once(before).map(|(_, rest)| rest);
    let found = rest.and_then(|rest| rest.split_once(behind));
    found.map_or_else(|| panic!("no {before} in {text}"), |(found, _)| found)
}

pub fn cookies_of(answer: &Answer) -> Vec<String> {
    let head = String::from_utf8_lossy(&answer.head.raw).into_owned();
    let lines = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("set-cookie")
            .then(|| value.to_owned())
    });
    lines.collect()
}
