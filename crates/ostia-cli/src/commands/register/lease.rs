use std::time::Duration;

use http::{Method, StatusCode};
use ostia::catalog::HttpUrl;
use serde_json::{Value, json};

use crate::commands::web::{Answer, Page};
use crate::failure::Failure;

/// The two calls to the gateway.
pub(super) struct Calls {
    url: HttpUrl,
    page: Page,
}

/// What every call says about the engine.
pub(super) struct LeaseTerms {
    pub url: String,
    pub ttl: Duration,
    pub max_in_flight: u32,
}

/// The lease, as of the last answer.
pub(super) struct Lease {
    id: String,
    /// The number of the last call, whether or not its answer arrived.
    sequence: i64,
}

/// The gateway's answer to a call.
pub(super) enum Heard {
    Held {
        in_use: bool,
        /// The gateway has checked that the engine serves, and sends requests to it.
        serving: bool,
    },
    /// Trying again may help.
    Later(String),
    /// Trying again does not help.
    Never(String),
}

impl Calls {
    pub fn new(url: HttpUrl, page: Page) -> Self {
        Self { url, page }
    }

    /// Takes or renews the lease. Times are sent as durations, so that clocks do not have to agree.
    pub async fn hold(
        &self,
        held: &mut Option<Lease>,
        terms: &LeaseTerms,
        state: &str,
        until: Option<Duration>,
    ) -> Heard {
        let mut body = json!({
            "state": state, "ttl": terms.ttl.as_secs_f64(), "max_in_flight": terms.max_in_flight, "url": terms.url,
        });
        if let Some(until) = until {
            body["until"] = until.as_secs_f64().into();
        }
        if let Some(lease) = held.as_mut() {
            lease.sequence += 1;
            body["lease"] = (*lease.id).into();
            body["sequence"] = lease.sequence.into();
        }
        let page = Page {
            body: Some(body),
            ..self.page.clone()
        };
        match page.call(Method::PUT, &self.url).await {
            Ok(answer) => heard(held, &answer),
            Err(failure) => Heard::Later(failure.text().to_owned()),
        }
    }

    pub async fn give_back(&self, lease: &Lease) -> Result<(), String> {
        let mut url = self.url.clone();
        url.query = Some(format!("lease={}", lease.id).into());
        let answer = self.page.clone().call(Method::DELETE, &url).await;
        let answer = answer.map_err(|failure| failure.text().to_owned())?;
        match answer.status {
            status if status.is_success() || status == StatusCode::GONE => Ok(()),
            _ => Err(said(&answer)),
        }
    }
}

fn heard(held: &mut Option<Lease>, answer: &Answer) -> Heard {
    let told = answer.json().unwrap_or_default();
    if answer.status.is_success() {
        let (Some(id), Some(sequence)) = (told["lease"].as_str(), told["sequence"].as_i64()) else {
            return Heard::Never(format!("the gateway gave no lease: {}", said(answer)));
        };
        let sequence = match held {
            Some(lease) if lease.id == id => lease.sequence.max(sequence),
            _ => sequence,
        };
        let id = id.to_owned();
        *held = Some(Lease { id, sequence });
        let is = |name: &str| told[name].as_bool().unwrap_or(false);
        return Heard::Held {
            in_use: is("in_use"),
            serving: is("serving"),
        };
    }
    match answer.status {
        // It expired while no call got through: the next one takes a new lease.
        StatusCode::GONE => {
            *held = None;
            Heard::Later(said(answer))
        }
        // Two calls crossed, or an earlier lease with this URL has not ended yet.
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Heard::Later(said(answer))
        }
        status if status.is_server_error() => Heard::Later(said(answer)),
        _ => Heard::Never(said(answer)),
    }
}

/// The gateway's message, in one line.
fn said(answer: &Answer) -> String {
    let told: Value = answer.json().unwrap_or_default();
    let message = told["error"]["message"].as_str().unwrap_or_default();
    format!("the gateway answered {}: {message}", answer.status)
}

impl From<Failure> for Heard {
    fn from(failure: Failure) -> Self {
        Self::Later(failure.text().to_owned())
    }
}
