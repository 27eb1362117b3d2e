use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// An endpoint whose engines register their addresses, instead of its entry naming them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Register {
    /// The networks in which they may be, within those that the registering key allows; empty: all of those.
    pub networks: Vec<IpNet>,
}

/// Why no engine may be at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    #[error("is a loopback address, which is the gateway's own machine")]
    Loopback,
    #[error("is a link-local address")]
    LinkLocal,
    #[error("is not the address of a single machine")]
    NotOne,
    #[error("is a metadata service of a cloud")]
    Metadata,
    #[error("hides an IPv4 address")]
    Translated,
    #[error("is outside the networks of the endpoint (`register_networks`)")]
    Endpoint,
    #[error("is outside the networks of the key (`--allow-ip`)")]
    Key,
}

/// Metadata services that are not link-local: of Amazon, Oracle and Alibaba.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

impl Register {
    /// Whether an engine may be at `address`. `of_key`: the networks of the registering key; empty: none.
    pub fn check(&self, address: IpAddr, of_key: &[IpNet]) -> Result<(), AddressFault> {
        self.allows(address)?;
        match is_in(of_key, address) {
            true => Ok(()),
            false => Err(AddressFault::Key),
        }
    }

    /// Whether an engine may be at `address` for all that the endpoint says.
    pub fn allows(&self, address: IpAddr) -> Result<(), AddressFault> {
        let address = address.to_canonical();
        let is_written = self.networks.iter().any(|network| {
            network.contains(&address) && network.network().to_canonical().is_loopback()
        });
        match fault_of(address) {
            Some(AddressFault::Loopback) if is_written => {}
            Some(fault) => return Err(fault),
            None => {}
        }
        match self.networks.is_empty() || is_in(&self.networks, address) {
            true => Ok(()),
            false => Err(AddressFault::Endpoint),
        }
    }
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Faults of an address, wherever it is written.
fn fault_of(address: IpAddr) -> Option<AddressFault> {
    if METADATA.contains(&address) {
        return Some(AddressFault::Metadata);
    }
    let is_broadcast = |v4: Ipv4Addr| v4.is_broadcast() || v4.octets()[0] == 0;
    match address {
        _ if address.is_loopback() => Some(AddressFault::Loopback),
        _ if super::is_link_local(address) => Some(AddressFault::LinkLocal),
        _ if address.is_unspecified() || address.is_multicast() => Some(AddressFault::NotOne),
        IpAddr::V4(v4) if is_broadcast(v4) => Some(AddressFault::NotOne),
        IpAddr::V4(_) => None,
        // IPv4-compatible, NAT64 (RFC 6052) and 6to4 (RFC 3056) addresses lead to an IPv4 address that nobody judged.
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0, ..] | [0x64, 0xff9b, ..] | [0x2002, ..] => {
                Some(AddressFault::Translated)
            }
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn checked(endpoint: &[&str], key: &[&str], address: &str) -> Result<(), AddressFault> {
        let register = Register {
            networks: networks(endpoint),
        };
        register.check(address.parse().unwrap(), &networks(key))
    }

    #[test]
    fn an_address_lies_in_the_networks_of_the_key_and_of_the_endpoint() {
        let key = ["10.1.0.0/16", "2001:db8::/32"];
        for (endpoint, address, found) in [
            (&[][..], "10.1.2.3", Ok(())),
            (&[], "2001:db8::7", Ok(())),
            (&[], "::ffff:10.1.2.3", Ok(())),
            (&[], "10.2.0.1", Err(AddressFault::Key)),
            (&["10.1.2.0/24"], "10.1.2.3", Ok(())),
            (&["10.1.2.0/24"], "10.1.3.3", Err(AddressFault::Endpoint)),
            (&["10.0.0.0/8"], "10.2.3.3", Err(AddressFault::Key)),
        ] {
            assert_eq!(checked(endpoint, &key, address), found, "{address}");
        }
        let unbound = checked(&["10.0.0.0/8"], &[], "10.1.2.3");
        assert_eq!(unbound, Err(AddressFault::Key));
    }

    #[test]
    fn some_addresses_are_nobodys_engine_whatever_is_allowed() {
        let all = ["0.0.0.0/0", "::/0"];
        for (address, fault) in [
            ("127.0.0.1", AddressFault::Loopback),
            ("::1", AddressFault::Loopback),
            ("::ffff:127.0.0.1", AddressFault::Loopback),
            ("169.254.169.254", AddressFault::LinkLocal),
            ("::ffff:169.254.169.254", AddressFault::LinkLocal),
            ("fe80::1", AddressFault::LinkLocal),
            ("0.0.0.0", AddressFault::NotOne),
            ("0.1.2.3", AddressFault::NotOne),
            ("::", AddressFault::NotOne),
            ("224.0.0.1", AddressFault::NotOne),
            ("255.255.255.255", AddressFault::NotOne),
            ("ff02::1", AddressFault::NotOne),
            ("fd00:ec2::254", AddressFault::Metadata),
            ("100.100.100.200", AddressFault::Metadata),
            ("192.0.0.192", AddressFault::Metadata),
            ("64:ff9b::a9fe:a9fe", AddressFault::Translated),
            ("::7f00:1", AddressFault::Translated),
            ("2002:7f00:1::", AddressFault::Translated),
        ] {
            assert_eq!(checked(&all, &all, address), Err(fault), "{address}");
        }
    }

    #[test]
    fn loopback_has_to_be_written() {
        let key = ["127.0.0.0/8"];
        assert_eq!(checked(&["127.0.0.0/8"], &key, "127.0.0.1"), Ok(()));
        let unwritten = checked(&[], &key, "127.0.0.1");
        assert_eq!(unwritten, Err(AddressFault::Loopback));
        let of_another = checked(&["127.0.0.0/8"], &["10.0.0.0/8"], "127.0.0.1");
        assert_eq!(of_another, Err(AddressFault::Key));
    }
}
