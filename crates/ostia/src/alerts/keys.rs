use serde_json::{Value, json};

use super::change::stamp;
use super::mail::Mail;
use super::{Change, Severity, Trouble};
use crate::gateway::Gateway;
use crate::people::{Actor, EndingKey};

/// Keys whose owners are told now that they end: of several processes one gets each.
pub(super) async fn ending(gateway: &Gateway) -> Vec<EndingKey> {
    let desk = gateway.desk(&gateway.live(), Actor::default());
    let mut told = Vec::new();
    match desk.ending_keys().await {
        Ok(ending) => {
            for ending in ending {
                if matches!(desk.noted_end(&ending).await, Ok(true)) {
                    log(&ending);
                    told.push(ending);
                }
            }
        }
        Err(error) => tracing::debug!(%error, "the database does not say which keys end"),
    }
    told
}

fn log(ending: &EndingKey) {
    tracing::info!(
        target: "ostia::audit",
        kind = "key_ends",
        key_id = &*ending.key.id,
        username = &*ending.key.username,
        address = &*ending.address,
        days = ending.days,
        "a key ends: its owner needs another"
    );
}

/// As an alert. It is told once, and does not resolve.
pub(super) fn change(ending: &EndingKey, now: i64) -> Change {
    let when = match ending.days {
        0 => "has ended".to_owned(),
        days => format!("ends in {days} days"),
    };
    Change {
        trouble: Trouble {
            name: "key_ends",
            subject: ending.key.id.to_string(),
            severity: Severity::Warning,
            summary: format!(
                "The API key {} of {} {when}.",
                ending.key.id, ending.key.username
            ),
        },
        began: now,
        ended: None,
    }
}

/// For a webhook.
pub(super) fn as_json(ending: &EndingKey, now: i64) -> Value {
    let mut value = change(ending, now).as_json();
    value["status"] = json!("notice");
    value["address"] = json!(ending.address);
    value["days"] = json!(ending.days);
    value
}

/// For the owner.
pub(super) fn mail(ending: &EndingKey, now: i64) -> Mail {
    let summary = change(ending, now).trouble.summary;
    let label = match &*ending.key.label {
        "" => String::new(),
        label => format!("Its label is: {label}\n"),
    };
    Mail {
        to: Some(ending.address.clone()),
        subject: summary.trim_end_matches('.').to_owned(),
        text: format!(
            "{summary}\n{label}End: {}\n\nAsk for another one, or sign in, to go on using the gateway.\n",
            ending.key.expires_at.map(stamp).unwrap_or_default()
        ),
    }
}
