use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::lexeme::{NOT_ASCII, RawString};

/// Which hosts an endpoint's backend may be told to fetch from. Names are not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaHosts {
    /// Every name but those that only exist within a site, and every public address.
    Public,
    /// These, and no others.
    Listed(Vec<HostRule>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRule {
    Any,
    /// In lower case.
    Name(Box<str>),
    /// Every name that ends in this, which begins with a dot.
    Below(Box<str>),
    Address(IpAddr),
}

/// A URL, as far as it says what will be fetched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link<'a> {
    /// The data itself.
    Data,
    /// Of `http` or `https`.
    Name(&'a str),
    Address(IpAddr),
    /// No URL.
    Plain {
        /// It cannot be base64, so a program may take it for the name of a file.
        is_path: bool,
    },
    /// Another scheme, user information, or a host that two programs may read in two ways.
    Unfit,
}

/// What may stand in a URL's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instead {
    Nothing,
    Base64,
    Text,
}

/// A longer scheme and host are unfit.
pub(super) const LONGEST: usize = 512;

impl MediaHosts {
    /// Whether a backend may be told of it.
    pub(super) fn take(&self, link: &Link<'_>, instead: Instead) -> bool {
        match (link, self) {
            (Link::Data, _) => true,
            (Link::Plain { is_path }, _) => {
                instead == Instead::Text || instead == Instead::Base64 && !is_path
            }
            (Link::Unfit, _) => false,
            (Link::Name(name), Self::Public) => !is_within_a_site(name),
            (Link::Address(address), Self::Public) => is_public(*address),
            (_, Self::Listed(rules)) => rules.iter().any(|rule| rule.takes(link)),
        }
    }
}

impl HostRule {
    /// `*`, a name, `*.` and a name, or an address; `None` if it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        let (below, host) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None if text == "*" => return Some(Self::Any),
            None => (false, text),
        };
        if let Ok(address) = host.parse() {
            return (!below).then_some(Self::Address(address));
        }
        let lower = host.to_ascii_lowercase();
        match host_of(lower.as_bytes()) {
            Link::Name(name) if below => Some(Self::Below(format!(".{name}").into())),
            Link::Name(name) => Some(Self::Name(name.into())),
            Link::Address(address) if !below => Some(Self::Address(address)),
            _ => None,
        }
    }

    fn takes(&self, link: &Link<'_>) -> bool {
        match (self, link) {
            (Self::Any, _) => true,
            (Self::Name(name), Link::Name(host)) => **name == **host,
            (Self::Below(end), Link::Name(host)) => host.ends_with(&**end),
            (Self::Address(address), Link::Address(host)) => {
                address.to_canonical() == host.to_canonical()
            }
            _ => false,
        }
    }
}

impl<'a> Link<'a> {
    pub(super) fn of(text: RawString<'_>, buffer: &'a mut [u8; LONGEST]) -> Self {
        let length = text.beginning(buffer).len();
        let is_whole = length < LONGEST;
        let text = &mut buffer[..length];
        text.make_ascii_lowercase();
        let text = &*text;
        // Some programs skip these, others do not.
        let start = text.iter().position(|byte| *byte > b' ');
        let text = &text[start.unwrap_or(text.len())..];
        let Some((scheme, rest)) = split_scheme(text) else {
            let hides = text.iter().take(16).any(|byte| byte.is_ascii_control());
            let is_path = text.iter().any(|byte| b".\\~".contains(byte));
            return match hides {
                true => Self::Unfit,
                false => Self::Plain { is_path },
            };
        };
        match scheme {
            b"data" => Self::Data,
            b"http" | b"https" => authority(rest, is_whole),
            _ => Self::Unfit,
        }
    }
}

fn split_scheme(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let sound = scheme.first().is_some_and(u8::is_ascii_lowercase)
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    sound.then_some((scheme, rest))
}

/// What follows `http:`. Browsers take any number of slashes in either direction, other programs exactly two.
fn authority(rest: &[u8], is_whole: bool) -> Link<'_> {
    let Some(rest) = rest.strip_prefix(b"//") else {
        return Link::Unfit;
    };
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let authority = match end {
        Some(end) => &rest[..end],
        None if is_whole => rest,
        None => return Link::Unfit,
    };
    let colon = match authority.iter().rposition(|byte| *byte == b']') {
        Some(bracket) => bracket + 1,
        None => authority
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(colon);
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if is_port { host_of(host) } else { Link::Unfit }
}

/// A host in lower case, as strictly as it can be written.
fn host_of(host: &[u8]) -> Link<'_> {
    if let Some(inner) = host.strip_prefix(b"[") {
        let inner = inner.strip_suffix(b"]").unwrap_or_default();
        let address = std::str::from_utf8(inner).ok();
        let address = address.and_then(|text| text.parse::<Ipv6Addr>().ok());
        return address.map_or(Link::Unfit, |address| Link::Address(address.into()));
    }
    let host = host.strip_suffix(b".").unwrap_or(host);
    let Ok(name) = std::str::from_utf8(host) else {
        return Link::Unfit;
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() > 253 || host.contains(&NOT_ASCII) || !name.split('.').all(is_label) {
        return Link::Unfit;
    }
    match name.rsplit('.').next().is_some_and(is_numeric) {
        true => ipv4(name).map_or(Link::Unfit, |address| Link::Address(address.into())),
        false => Link::Name(name),
    }
}

fn is_numeric(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
        || label
            .strip_prefix("0x")
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// An address in any spelling of `inet_aton`: one to four numbers, decimal, octal or hexadecimal, the last of which fills
/// what is left.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut address = 0_u32;
    let parts = text.split('.').count();
    for (index, part) in text.split('.').enumerate() {
        let number = match part.strip_prefix("0x") {
            Some("") => 0,
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok()?,
            None => part.parse().ok()?,
        };
        let is_last = index + 1 == parts;
        let bits = if is_last { 32 - 8 * index } else { 8 };
        if index > 3 || u64::from(number) >= 1 << bits {
            return None;
        }
        address |= if is_last {
            number
        } else {
            number << (24 - 8 * index)
        };
    }
    Some(address.into())
}

/// Names that no public server has: single labels, and what is set aside for sites.
fn is_within_a_site(name: &str) -> bool {
    let own = [
        ".local",
        ".localdomain",
        ".internal",
        ".intra",
        ".localhost",
        ".home.arpa",
        ".svc",
        ".consul",
        ".lan",
        ".corp",
        ".home",
        ".intranet",
        ".private",
        ".test",
    ];
    !name.contains('.') || own.iter().any(|end| name.ends_with(end))
}

/// Whether an address is one of the internet's (IANA's registries of special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 10 | 127 | 224..=255, ..] => true,
        [100, second, ..] => second & 0xc0 == 64,
        [169, 254, ..] | [192, 168, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] => true,
        [172, second, ..] => second & 0xf0 == 16,
        // Azure's own services on each virtual machine.
        [168, 63, 129, 16] => true,
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        _ => false,
    };
    !special
}

/// Of what is given out (2000::/3), not the ranges for protocols, for documents, and for 6to4, which hides an IPv4 address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests;
