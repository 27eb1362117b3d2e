mod counts;
mod model;
mod responses;
mod shapes;
mod spliced;

use std::time::Duration;

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use ostia_core::ManualClock;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalog::{DENIED_FIELDS, Scope};
use crate::dialect::{Api, StreamOptions};
use crate::scan::MediaHosts;

const LIMITS: ReadLimits = ReadLimits {
    max_body_bytes: 1 << 20,
    body_idle_timeout: Duration::from_secs(10),
};

/// What an endpoint with the usual policy has scans look for.
fn watch() -> Watch {
    let mut watch = Watch::default();
    DENIED_FIELDS.iter().for_each(|field| watch.deny(field));
    watch.hosts(&Arc::new(MediaHosts::Public));
    watch
}

fn read_as(api: &str, content_type: &str, body: &str) -> Result<Call, ReadError> {
    read_named(None, api, content_type, body)
}

/// `model`: the model in the path, if there is one.
fn read_named(
    model: Option<&str>,
    api: &str,
    content_type: &str,
    body: &str,
) -> Result<Call, ReadError> {
    let address = Address {
        scope: Scope::Everywhere,
        api: Api::parse(api),
        model: model.map(Into::into),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async {
            let user = "ann".into();
            let rules = Rules {
                limits: &LIMITS,
                budget: &Budget::new(1 << 20),
                user: &user,
                origin: std::net::Ipv4Addr::LOCALHOST.into(),
                watch: &watch(),
            };
            let refused = RefusedBytes::new(Arc::new(ManualClock::at(0)));
            let mut toll = refused.toll(&user, 0)?;
            read(&headers, body, &address, rules, &mut toll).await
        })
}

fn read_json(api: &str, body: &str) -> Result<Call, ReadError> {
    read_as(api, "application/json", body)
}

/// A call whose body has `model` and these other members.
fn call(api: &str, members: &str) -> Call {
    read_json(api, &format!("{{\"model\":\"m\",{members}}}")).unwrap()
}

fn refusal(api: &str, body: &str) -> (&'static str, Option<&'static str>) {
    match read_json(api, body) {
        Err(ReadError::Invalid(invalid)) => (invalid.code, invalid.param),
        other => panic!("{body}: {other:?}"),
    }
}

fn joined(pieces: &[Bytes]) -> String {
    String::from_utf8(pieces.concat()).unwrap()
}
