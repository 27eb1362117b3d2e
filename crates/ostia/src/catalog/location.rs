use std::net::IpAddr;

/// Where an endpoint's backend stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Location {
    OnSite,
    /// A provider elsewhere: what is sent there leaves the site.
    External,
}

impl Location {
    /// What a host tells, where nothing is written: private and loopback addresses, and names that only the site's own
    /// resolver knows, are on site.
    pub fn of_host(host: &str) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_local = match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
            Ok(IpAddr::V6(v6)) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
            }
            Err(_) => {
                let name = host.trim_end_matches('.').to_ascii_lowercase();
                let top = name.rsplit_once('.').map(|(_, top)| top);
                top.is_none_or(|top| LOCAL.contains(&top))
            }
        };
        match is_local {
            true => Self::OnSite,
            false => Self::External,
        }
    }

    /// As fixtures and the ledger have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnSite => "on_site",
            Self::External => "external",
        }
    }
}

/// Domains that no public resolver answers for.
const LOCAL: [&str; 4] = ["local", "localhost", "internal", "lan"];

#[cfg(test)]
mod tests {
    use super::Location;

    #[test]
    fn private_addresses_and_names_are_on_site() {
        for host in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.9",
            "192.168.7.7",
            "[::1]",
            "fd00::7",
            "::ffff:10.0.0.1",
            "node7",
            "vllm.svc.cluster.local",
            "gpu.INTERNAL.",
        ] {
            assert_eq!(Location::of_host(host), Location::OnSite, "{host}");
        }
        for host in [
            "8.8.8.8",
            "2001:4860::1",
            "api.example.com",
            "local.example.org",
        ] {
            assert_eq!(Location::of_host(host), Location::External, "{host}");
        }
    }
}
