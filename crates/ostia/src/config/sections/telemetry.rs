use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use ostia_core::Secret;

use super::super::reader::{Reading, Section, quoted};
use crate::catalog::HttpUrl;
use crate::settings::{Otlp, Telemetry};

pub(super) fn read(root: &Section<'_>, reading: &Reading<'_>) -> Telemetry {
    let section = root.section(
        "telemetry",
        "Who gets figures and traces. `/metrics` has the same figures for whoever asks.",
    );
    let endpoint = section.secret(
        "otlp_endpoint",
        "The base URL of a collector of OpenTelemetry, such as `http://localhost:4318`: it gets metrics at `/v1/metrics` there, and traces at `/v1/traces`, by OTLP over HTTP in protobuf. \"\" sends nothing.",
    );
    let headers = section.secret(
        "otlp_headers",
        "Headers that the collector wants, such as `authorization=Bearer TOKEN`: names and values as in `OTEL_EXPORTER_OTLP_HEADERS`, with commas between them, and percent-encoded where a value has one.",
    );
    let trace_ratio = section.parse(
        "trace_ratio",
        (1.0, "1"),
        "a number from 0 to 1",
        "The share of requests that are traced, of those that come without a `traceparent`. For the others its `sampled` flag decides.",
        |text| {
            let ratio = text.trim().parse::<f64>().ok();
            ratio
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .ok_or_else(|| quoted(text))
        },
    );
    let metrics_interval = section.duration(
        "metrics_interval",
        Duration::from_secs(60),
        "How often metrics are sent.",
    );
    let prompts = section.flag(
        "log_prompts",
        false,
        "Prompts are never logged, nor in a trace: `true` is an error.",
    );
    section.finish();
    if prompts {
        reading.fatal(
            "telemetry.log_prompts",
            "is not supported: prompts are never logged. Leave it out",
        );
    }
    let headers = read_headers(headers.expose()).unwrap_or_else(|fault| {
        // The text may contain a token, so the message does not repeat it.
        reading.fatal("telemetry.otlp_headers", fault);
        HeaderMap::new()
    });
    if endpoint.expose().is_empty() {
        if !headers.is_empty() {
            let text = "has no effect without `telemetry.otlp_endpoint`";
            reading.warning("telemetry.otlp_headers", text);
        }
        return Telemetry::default();
    }
    match HttpUrl::parse_bare(endpoint.expose()) {
        Err(fault) => reading.fatal("telemetry.otlp_endpoint", &fault.to_string()),
        Ok(url) => {
            if let Some(fault) = fault_of(&url) {
                reading.fatal("telemetry.otlp_endpoint", &fault);
            }
            if url.origin.port == GRPC {
                let text =
                    "has port 4317, where collectors expect gRPC; OTLP over HTTP has port 4318";
                reading.warning("telemetry.otlp_endpoint", text);
            }
        }
    }
    Telemetry {
        otlp: Some(Otlp {
            endpoint,
            headers: Secret::new(headers),
            trace_ratio,
            metrics_interval,
        }),
    }
}

const GRPC: u16 = 4317;

/// Why a URL is not the base of a collector's.
fn fault_of(url: &HttpUrl) -> Option<String> {
    if url.query.is_some() {
        let fault = "has a query: write it without one, and a token in `telemetry.otlp_headers`";
        return Some(fault.to_owned());
    }
    let path = url.path.trim_end_matches('/');
    let signal = ["/v1/traces", "/v1/metrics", "/v1/logs"]
        .into_iter()
        .find(|signal| path.ends_with(signal))?;
    Some(format!(
        "ends with `{signal}`, which is added to it: leave that out"
    ))
}

/// `name=value,name=value`, each value percent-encoded.
fn read_headers(text: &str) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    let pairs = text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    for pair in pairs {
        let (name, value) = pair
            .split_once('=')
            .ok_or("must be `NAME=VALUE`, and several with commas between them")?;
        let name =
            HeaderName::try_from(name.trim()).map_err(|_| "has a name that no header can have")?;
        if [CONTENT_TYPE, CONTENT_LENGTH, HOST].contains(&name) {
            return Err("names a header that is set anyway: leave it out");
        }
        let value = percent_encoding::percent_decode_str(value.trim())
            .decode_utf8()
            .map_err(|_| "has a value that is not percent-encoded UTF-8")?;
        let mut value =
            HeaderValue::try_from(&*value).map_err(|_| "has a value that no header can have")?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_in_the_standard_variable() {
        let headers = read_headers("authorization=Bearer a%2Cb , x-tenant=lab=1,").unwrap();
        assert_eq!(headers["authorization"], "Bearer a,b");
        assert_eq!(headers["x-tenant"], "lab=1");
        assert!(read_headers("").unwrap().is_empty());
        for bad in ["authorization", "a b=c", "=x", "x=%ff", "x=a%0Ab", "Host=x"] {
            assert!(read_headers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_collector_is_named_by_its_base() {
        for (text, is_base) in [
            ("http://localhost:4318", true),
            ("https://otlp.example.org/otlp/", true),
            ("http://h:4318/v1/traces", false),
            ("http://h:4318/v1/metrics/", false),
            ("https://h/otlp?token=x", false),
        ] {
            let url = HttpUrl::parse_bare(text).unwrap();
            assert_eq!(fault_of(&url).is_none(), is_base, "{text}");
        }
    }
}
