use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ostia_core::{Level, Standing, millis};

/// `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` (OpenAI's rate limit guide), for the limits that apply.
pub fn limit_headers(standing: &Standing) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(2 * REQUESTS.len());
    if let Some(level) = standing.requests() {
        push(&mut headers, REQUESTS, level);
    }
    if let Some(level) = standing.tokens() {
        push(&mut headers, TOKENS, level);
    }
    headers
}

/// `x-ostia-queue-ms`: how long the request waited for its turn, where it had to.
pub fn queue_header(waited: Option<Duration>) -> Option<(HeaderName, HeaderValue)> {
    Some((QUEUE, HeaderValue::from(millis(waited?))))
}

/// `x-ostia-served-model`: the model that stood in for the one that was asked for.
pub fn served_header(served: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((SERVED, HeaderValue::try_from(served).ok()?))
}

const SERVED: HeaderName = HeaderName::from_static("x-ostia-served-model");
const QUEUE: HeaderName = HeaderName::from_static("x-ostia-queue-ms");
const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

fn push(headers: &mut Vec<(HeaderName, HeaderValue)>, names: [HeaderName; 3], level: &Level) {
    let [limit, remaining, reset] = names;
    headers.push((limit, HeaderValue::from(level.limit)));
    headers.push((remaining, HeaderValue::from(level.remaining())));
    if let Ok(value) = HeaderValue::try_from(spell(level.reset)) {
        headers.push((reset, value));
    }
}

/// A duration in OpenAI's notation: `850ms`, `1s`, `6m0s`.
fn spell(duration: Duration) -> String {
    let millis = duration.as_millis();
    // Nearly always, and `format!` would take ten times as long.
    if millis < 1_000 {
        let mut text = itoa::Buffer::new().format(millis).to_owned();
        text.push_str("ms");
        return text;
    }
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::spell;
    use std::time::Duration;

    #[test]
    fn durations_are_spelt_as_openai_spells_them() {
        for (millis, text) in [
            (0, "0ms"),
            (850, "850ms"),
            (1_000, "1s"),
            (1_001, "2s"),
            (360_000, "6m0s"),
            (61_000, "1m1s"),
        ] {
            assert_eq!(spell(Duration::from_millis(millis)), text);
        }
    }
}
