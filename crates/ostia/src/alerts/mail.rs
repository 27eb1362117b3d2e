use std::time::Duration;

use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::Change;
use super::change::stamp;
use crate::settings::Smtp;

const PATIENCE: Duration = Duration::from_secs(10);

/// A mail on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mail {
    /// `None`: whoever is told of alerts.
    pub(super) to: Option<String>,
    pub(super) subject: String,
    pub(super) text: String,
}

impl Mail {
    pub(super) fn of(change: &Change) -> Self {
        let trouble = &change.trouble;
        let subject = format!(
            "[ostia] {}: {} {}",
            change.status(),
            trouble.name,
            trouble.subject
        );
        let ended = change
            .ended
            .map(|ended| format!("Ended: {}\n", stamp(ended)));
        Self {
            to: None,
            subject: subject.trim_end().to_owned(),
            text: format!(
                "{}\n\nSeverity: {}\nBegan: {}\n{}Fingerprint: {}\n",
                trouble.summary,
                trouble.severity.as_str(),
                stamp(change.began),
                ended.unwrap_or_default(),
                trouble.fingerprint()
            ),
        }
    }

    /// `true`: the server took it, or never will.
    pub(super) async fn send(&self, smtp: &Smtp) -> bool {
        let message = match self.message(smtp) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%error, "a mail cannot be written");
                return true;
            }
        };
        // The URL is in no log: it may hold a password.
        let Ok(server) = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp.url.expose()) else {
            tracing::error!("alerts.smtp is not the address of a mail server: the mail is dropped");
            return true;
        };
        let server = server.timeout(Some(PATIENCE)).build();
        match server.send(message).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "a mail was not taken");
                error.is_permanent()
            }
        }
    }

    fn message(&self, smtp: &Smtp) -> Result<Message, lettre::error::Error> {
        let from = smtp.from.parse::<Mailbox>().ok();
        let mut message = Message::builder().subject(&*self.subject);
        if let Some(from) = from {
            message = message.from(from);
        }
        let operators = || smtp.to.iter().filter_map(|one| one.parse::<Mailbox>().ok());
        match self.to.as_ref().and_then(|one| one.parse::<Mailbox>().ok()) {
            Some(owner) => message = message.to(owner),
            // A user's name need not be an address.
            None => message = operators().fold(message, |message, one| message.to(one)),
        }
        message.body(self.text.clone())
    }
}
