use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;

use super::mail::Mail;
use super::share::Mine;
use super::{Change, keys};
use crate::catalog::{HttpUrl, Target, Timeouts};
use crate::people::EndingKey;
use crate::settings;
use crate::upstream::Clients;

/// How many messages wait for a webhook that does not answer. Beyond it the oldest is dropped: the latest shows the
/// current state.
const MOST: usize = 256;
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_ANSWER: usize = 64 * 1024;
/// How often firing alerts are sent to an Alertmanager, and how long they stay valid.
const REPEAT: Duration = Duration::from_secs(60);
const HOLDS: i64 = 300_000_000;
/// How long an Alertmanager keeps what it is told once.
const DAY: i64 = 86_400_000_000;
/// How often the sign of life is given.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Messages on their way to their targets.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Value>,
    mails: VecDeque<Mail>,
    /// What the Alertmanager is told once.
    once: Vec<Change>,
    /// Ends that the Alertmanager has still to be told.
    ended: Vec<Change>,
    told: Option<Instant>,
    beaten: Option<Instant>,
}

impl Outbox {
    /// For the webhook.
    pub(super) fn put(&mut self, message: Value) {
        push(&mut self.waiting, message);
    }

    pub(super) fn mail(&mut self, mail: Mail) {
        push(&mut self.mails, mail);
    }

    /// A key ends.
    pub(super) fn tell_of_key(&mut self, ending: &EndingKey, wall: i64) {
        self.put(keys::as_json(ending, wall));
        self.mail(keys::mail(ending, wall));
        self.once.push(keys::change(ending, wall));
    }

    /// Sends what can be sent now. Failed messages are tried again at the next call.
    pub(super) async fn send(
        &mut self,
        to: &settings::Alerts,
        Mine { news, firing }: Mine,
        clients: &Clients,
        (now, wall): (Instant, i64),
    ) {
        let has_changed = !news.is_empty() || !self.once.is_empty();
        for change in &news {
            self.put(change.as_json());
            self.mail(Mail::of(change));
        }
        self.ended
            .extend(news.into_iter().filter(|change| change.ended.is_some()));
        match &to.webhook {
            Some(url) => self.deliver(url.expose(), clients).await,
            None => self.waiting.clear(),
        }
        match &to.smtp {
            Some(smtp) => self.deliver_mails(smtp).await,
            None => self.mails.clear(),
        }
        let is_due = |last: Option<Instant>, every| {
            last.is_none_or(|last| now.saturating_duration_since(last) >= every)
        };
        if let Some(url) = &to.alertmanager {
            let is_due = has_changed || !self.ended.is_empty() || is_due(self.told, REPEAT);
            if is_due && self.tell(url.expose(), &firing, clients, wall).await {
                self.told = Some(now);
                self.ended.clear();
                self.once.clear();
            }
        } else {
            self.ended.clear();
            self.once.clear();
        }
        if let Some(url) = &to.heartbeat_url
            && is_due(self.beaten, HEARTBEAT)
            && call(Method::GET, url.expose(), "", None, clients).await
        {
            self.beaten = Some(now);
        }
    }

    async fn deliver(&mut self, url: &str, clients: &Clients) {
        while let Some(message) = self.waiting.front() {
            if !call(Method::POST, url, "", Some(message), clients).await {
                return;
            }
            self.waiting.pop_front();
        }
    }

    async fn deliver_mails(&mut self, smtp: &settings::Smtp) {
        while let Some(mail) = self.mails.front() {
            if !mail.send(smtp).await {
                return;
            }
            self.mails.pop_front();
        }
    }

    async fn tell(&self, url: &str, firing: &[Change], clients: &Clients, wall: i64) -> bool {
        let all = firing.iter().chain(&self.ended);
        let once = self.once.iter().map(|change| change.as_alert(wall + DAY));
        let lasting = all.map(|change| change.as_alert(wall + HOLDS));
        let alerts: Vec<Value> = lasting.chain(once).collect();
        if alerts.is_empty() {
            return true;
        }
        let alerts = Value::Array(alerts);
        call(Method::POST, url, "/api/v2/alerts", Some(&alerts), clients).await
    }
}

fn push<T>(waiting: &mut VecDeque<T>, message: T) {
    if waiting.len() == MOST {
        waiting.pop_front();
    }
    waiting.push_back(message);
}

/// `true`: it was taken. The URL is in no log: it may hold a token.
async fn call(
    method: Method,
    url: &str,
    path: &str,
    body: Option<&Value>,
    clients: &Clients,
) -> bool {
    let Ok(url) = HttpUrl::parse(&format!("{}{path}", url.trim_end_matches('/'))) else {
        return false;
    };
    let limit = Some(PATIENCE);
    let timeouts = Timeouts {
        connect: limit,
        response_header: limit,
        stream_idle: limit,
        total: limit,
    };
    let path = url.path_and_query();
    let client = match clients.client(&Target::plain(url.origin, timeouts)) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "an alert cannot be sent");
            return false;
        }
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = body.map(|body| Bytes::from(body.to_string()));
    match client
        .fetch(method, &path, headers, body, LONGEST_ANSWER)
        .await
    {
        Ok((head, _)) if head.status.is_success() => true,
        Ok((head, _)) => {
            tracing::warn!(status = head.status.as_u16(), "an alert was not taken");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "an alert cannot be sent");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::stamp;
    use super::super::{Severity, Trouble};
    use super::*;

    #[test]
    fn what_an_alertmanager_is_told_names_when_it_ends() {
        let mut change = Change {
            trouble: Trouble {
                name: "store_down",
                subject: String::new(),
                severity: Severity::Critical,
                summary: "text".to_owned(),
            },
            began: 0,
            ended: None,
        };
        assert_eq!(change.as_alert(60_000_000)["endsAt"], stamp(60_000_000));
        change.ended = Some(1_000_000);
        let alert = change.as_alert(60_000_000);
        assert_eq!(alert["endsAt"], "1970-01-01T00:00:01Z");
        assert_eq!(alert["labels"]["alertname"], "ostia_store_down");
    }

    #[test]
    fn what_waits_is_bounded_and_the_latest_stays() {
        let mut outbox = Outbox::default();
        (0..MOST + 3).for_each(|number| outbox.put(number.into()));
        assert_eq!(outbox.waiting.len(), MOST);
        assert_eq!(outbox.waiting.front(), Some(&3.into()));
    }
}
