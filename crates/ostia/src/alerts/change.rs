use ring::digest;
use serde_json::{Value, json};

/// How soon somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Warning,
    Critical,
}

/// A current problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What kind: `endpoint_down`, `store_down`, ...
    pub name: &'static str,
    /// What it is about: an endpoint, a model, a file; empty: the gateway.
    pub subject: String,
    pub severity: Severity,
    pub summary: String,
}

/// The alert for operators. Times are Unix microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub trouble: Trouble,
    pub began: i64,
    /// `None`: it lasts.
    pub ended: Option<i64>,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Trouble {
    /// The same for the same problem, on every replica and after a restart.
    pub fn fingerprint(&self) -> String {
        let text = format!("{}\0{}", self.name, self.subject);
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        hex::encode(&hash.as_ref()[..8])
    }
}

impl Change {
    pub const fn status(&self) -> &'static str {
        match self.ended {
            None => "firing",
            Some(_) => "resolved",
        }
    }

    /// For a webhook.
    pub fn as_json(&self) -> Value {
        json!({
            "status": self.status(),
            "fingerprint": self.trouble.fingerprint(),
            "name": self.trouble.name,
            "subject": self.trouble.subject,
            "severity": self.trouble.severity.as_str(),
            "summary": self.trouble.summary,
            "starts_at": stamp(self.began),
            "ends_at": self.ended.map(stamp),
        })
    }

    /// For `/api/v2/alerts` of an Alertmanager. `until`: when it resolves by itself unless it is sent again.
    pub fn as_alert(&self, until: i64) -> Value {
        json!({
            "labels": {
                "alertname": format!("ostia_{}", self.trouble.name),
                "subject": self.trouble.subject,
                "severity": self.trouble.severity.as_str(),
                "service": "ostia",
            },
            "annotations": {"summary": self.trouble.summary},
            "startsAt": stamp(self.began),
            "endsAt": stamp(self.ended.unwrap_or(until)),
        })
    }
}

/// RFC 3339.
pub(super) fn stamp(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| String::new(), |at| at.to_string())
}
