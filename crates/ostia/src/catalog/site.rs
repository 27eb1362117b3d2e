use std::net::IpAddr;

/// Whether a host most likely belongs to the site: an address that is not public, a name without a dot, or a name of
/// a domain that is never public. Names are not resolved.
pub fn is_of_the_site(host: &str) -> bool {
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => {
            let domain = host.trim_end_matches('.').rsplit_once('.');
            domain
                .is_none_or(|(_, last)| matches!(last, "local" | "localhost" | "internal" | "lan"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_the_site;

    #[test]
    fn private_addresses_and_names_that_only_a_site_has() {
        for own in [
            "localhost",
            "vllm",
            "gpu1.cluster.local",
            "10.1.2.3",
            "127.0.0.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_of_the_site(own), "{own}");
        }
        for other in ["api.example.com", "8.8.8.8", "2001:4860::1", "100.64.0.1"] {
            assert!(!is_of_the_site(other), "{other}");
        }
    }
}
