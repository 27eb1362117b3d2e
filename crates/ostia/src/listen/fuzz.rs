use std::net::Ipv4Addr;

use http::{HeaderValue, Request};

use super::framing::Framing;
use super::{head, origin_ip};

/// The beginning of a connection, read in one piece and byte by byte: both must find a fault in the same head. Its
/// lines are also read as a Host and as a list of hops.
pub fn heads(data: &[u8]) {
    let whole = Framing::new().read(data);
    let mut framing = Framing::new();
    let pieces = data.chunks(1).filter_map(|byte| framing.read(byte)).next();
    assert_eq!(whole, pieces);
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Ok(value) = HeaderValue::from_bytes(line.trim_ascii()) else {
            continue;
        };
        let trusted = ["127.0.0.0/8".parse()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>();
        origin_ip(Ipv4Addr::LOCALHOST.into(), [&value].into_iter(), &trusted);
        let request = Request::get("/v1/models").header("host", value);
        if let Ok(request) = request.body(()) {
            let (parts, ()) = request.into_parts();
            let host = parts
                .headers
                .get("host")
                .map(HeaderValue::as_bytes)
                .unwrap_or_default();
            let is_odd = host.iter().any(|byte| b"/?#@\\ ".contains(byte));
            assert!(head::check(&parts).is_err() || !is_odd, "{parts:?}");
        }
    }
}
