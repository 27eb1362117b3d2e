use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;
use ipnet::IpNet;

/// The address that a request comes from: the peer, or, if the peer is a trusted proxy, the right-most hop of
/// `X-Forwarded-For` that is not a trusted proxy. A hop that is not an address ends the search: nothing to its left can
/// be trusted, so the trusted proxy that reported it is the origin. `lines` are the header's lines in order.
pub fn origin_ip<'a>(
    peer: IpAddr,
    lines: impl DoubleEndedIterator<Item = &'a HeaderValue>,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let mut origin = peer.to_canonical();
    if !is_trusted(&origin) {
        return origin;
    }
    let hops = lines
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        let Some(ip) = parse_hop(hop) else {
            return origin;
        };
        origin = ip;
        if !is_trusted(&origin) {
            return origin;
        }
    }
    origin
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .filter(|inner| inner.contains(':'))
        .unwrap_or(hop);
    let ip = match bare.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => hop.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::HeaderValue;
    use ipnet::IpNet;

    use super::origin_ip;

    #[track_caller]
    fn check(peer: &str, lines: &[&str], expected: &str) {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"]
            .iter()
            .map(|net| net.parse().unwrap())
            .collect();
        let lines: Vec<_> = lines
            .iter()
            .map(|line| HeaderValue::from_str(line).unwrap())
            .collect();
        let peer: IpAddr = peer.parse().unwrap();
        let expected: IpAddr = expected.parse().unwrap();
        assert_eq!(origin_ip(peer, lines.iter(), &trusted), expected);
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        check("192.0.2.9", &[], "192.0.2.9");
        check("192.0.2.9", &["198.51.100.1"], "192.0.2.9");
        check("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[""], "10.0.0.1");
    }

    #[test]
    fn the_right_most_untrusted_hop_counts() {
        check(
            "10.0.0.1",
            &["1.1.1.1, 198.51.100.1, 10.9.9.9"],
            "198.51.100.1",
        );
        check(
            "10.0.0.1",
            &["1.1.1.1", "198.51.100.1", "10.1.1.1, 10.2.2.2"],
            "198.51.100.1",
        );
        check("10.0.0.1", &["10.3.3.3,10.4.4.4"], "10.3.3.3");
        let fifty = format!("6.6.6.6{}", ", 10.0.0.2".repeat(49));
        check("127.0.0.1", &[&fifty], "6.6.6.6");
    }

    #[test]
    fn a_malformed_hop_ends_the_search() {
        check("10.0.0.1", &["1.1.1.1, unknown, 10.5.5.5"], "10.5.5.5");
        check("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1");
        check("10.0.0.1", &["1.1.1.1,,10.5.5.5"], "10.5.5.5");
        check("10.0.0.1", &["1.1.1.1, 999.1.1.1"], "10.0.0.1");
        check("10.0.0.1", &["1.1.1.1, [1.2.3.4]"], "10.0.0.1");
    }

    #[test]
    fn ports_and_both_families_are_read() {
        check("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1");
        check("10.0.0.1", &["2001:db8::1"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1");
        check("fd00::1", &["2001:db8::2, fd00::7"], "2001:db8::2");
    }

    #[test]
    fn mapped_addresses_are_their_ipv4_selves() {
        check("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1");
        check("::ffff:192.0.2.9", &["198.51.100.1"], "192.0.2.9");
    }
}
