use http::header::{HeaderName, HeaderValue};
use rhai::serde::to_dynamic;
use rhai::{Dynamic, Map};
use serde_json::{Value, json};

use super::{Outcome, SCRIPT_TIMEOUT};
use crate::script::{text_of, time_left};
use crate::upstream::{AskError, Http, Reply};

/// The same client, limited to the time that the script has left.
pub(crate) fn in_time(http: &Http) -> Http {
    http.clone().within(time_left().unwrap_or(SCRIPT_TIMEOUT))
}

/// The same client with a script's options: `#{with_key: true, headers: #{name: value}}`.
pub(super) fn with_options(mut http: Http, options: &Map) -> Outcome<Http> {
    for (key, value) in options {
        match key.as_str() {
            "with_key" => {
                if value.as_bool()? {
                    http = http.with_key();
                }
            }
            "headers" => {
                let headers = value.as_map_ref()?;
                for (name, value) in headers.iter() {
                    let (name, value) = header(name, value)?;
                    http = http.with_header(name, value);
                }
            }
            other => {
                return Err(
                    format!("`{other}` is not an option: use `with_key` or `headers`").into(),
                );
            }
        }
    }
    Ok(http)
}

fn header(name: &str, value: &Dynamic) -> Outcome<(HeaderName, HeaderValue)> {
    let (text, secret) = text_of(value)?;
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .ok()
        .zip(HeaderValue::from_str(&text).ok());
    let (name, mut value) = parsed.ok_or_else(|| format!("`{name}` is not a valid header"))?;
    value.set_sensitive(secret);
    Ok((name, value))
}

/// `#{status, body, json}`; `json` is `()` if the body is not JSON.
pub(crate) fn reply_to_dynamic(reply: Result<Reply, AskError>) -> Outcome<Dynamic> {
    let reply = reply.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&reply.body);
    to_dynamic(json!({
        "status": reply.status.as_u16(),
        "json": reply.json().unwrap_or(Value::Null),
        "body": text,
    }))
}
