use std::net::IpAddr;

use http::request;

use crate::settings::{ListenAddress, Server};

/// The host names that the admin listener answers to. This stops DNS rebinding: a web page whose own name resolves to
/// this address sends that name as the Host, and could read the answers.
pub struct Hosts {
    /// In lower case. `None`: no web page can reach the listener, so every name will do.
    names: Option<Vec<String>>,
    /// Whether other IP addresses than this machine's own are accepted, because NAT may translate them on the way. That
    /// is safe: DNS rebinding needs a name.
    any_address: bool,
}

impl Hosts {
    pub fn of(server: &Server) -> Self {
        let ListenAddress::Tcp(address) = &server.admin_listen else {
            return Self {
                names: None,
                any_address: true,
            };
        };
        let machine = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let listed = server.admin_hosts.iter().cloned();
        let names = listed.chain(["localhost".to_owned(), machine, address.ip().to_string()]);
        Self {
            names: Some(names.map(|name| name.to_ascii_lowercase()).collect()),
            any_address: !address.ip().is_loopback(),
        }
    }

    /// A request without a Host does not come from a browser.
    pub fn hold(&self, head: &request::Parts) -> bool {
        let Some(names) = &self.names else {
            return true;
        };
        let host = match head.uri.host() {
            Some(host) => Some(host),
            None => head
                .headers
                .get(http::header::HOST)
                .map(|host| host.to_str().unwrap_or_default())
                .map(without_port),
        };
        let Some(host) = host else {
            return true;
        };
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        match host.parse::<IpAddr>() {
            Ok(address) => self.any_address || address.to_canonical().is_loopback(),
            Err(_) => names.contains(&host),
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::Hosts;

    fn hosts(names: &[&str], any_address: bool) -> Hosts {
        Hosts {
            names: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            any_address,
        }
    }

    fn holds(hosts: &Hosts, host: &str) -> bool {
        let request = Request::builder().uri("/metrics").header("host", host);
        hosts.hold(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn it_answers_its_own_names_and_no_others() {
        let local = hosts(&["localhost", "head1", "ostia.lab.org"], false);
        for host in [
            "localhost",
            "LOCALHOST:8001",
            "127.0.0.1:9999",
            "[::1]:8001",
            "[::1]",
            "127.1.2.3",
            "head1:8001",
            "Ostia.Lab.org",
        ] {
            assert!(holds(&local, host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8001",
            "localhost.evil.example",
            "10.0.0.5:8001",
            "head1.evil.example",
            "",
            ":8001",
            "[2001:db8::1]:8001",
        ] {
            assert!(!holds(&local, host), "{host}");
        }
        let open = hosts(&["localhost"], true);
        assert!(holds(&open, "10.0.0.5:8001") && holds(&open, "[2001:db8::1]:8001"));
        assert!(!holds(&open, "evil.example"));
    }

    #[test]
    fn a_unix_socket_has_no_name_and_old_clients_send_none() {
        let unix = Hosts {
            names: None,
            any_address: true,
        };
        assert!(holds(&unix, "anything"));
        let head = Request::get("/metrics").body(()).unwrap().into_parts().0;
        assert!(hosts(&[], false).hold(&head));
    }
}
