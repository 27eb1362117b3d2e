use ostia_core::{ApiKey, Change, KeyFilter, Person, owners};

use super::{Desk, DeskError};

/// Days before a key's expiry on which its owner is notified.
pub const NOTICE_DAYS: [i64; 3] = [14, 3, 0];

const DAY_MICROS: i64 = 86_400_000_000;

/// A key whose owner must be notified of its expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndingKey {
    pub key: ApiKey,
    /// One of [`NOTICE_DAYS`].
    pub days: i64,
    /// Where the owner can be reached: what a provider said, or the name that the key is for.
    pub address: String,
}

impl Desk {
    /// The keys that expire soon or have expired, and whose owners were not notified yet. Keys whose lifetime is
    /// shorter than a notice's lead time get the next notice.
    pub async fn ending_keys(&self) -> Result<Vec<EndingKey>, DeskError> {
        let now = self.now();
        let [first, ..] = NOTICE_DAYS;
        let ending = KeyFilter::Ending(now - DAY_MICROS, now + first * DAY_MICROS + 1);
        let keys = self.store.find_keys(ending).await?;
        let due: Vec<_> = keys
            .into_iter()
            .filter_map(|key| Some((due(&key, now)?, key)))
            .collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let people = self.store.people().all().await?;
        let ending = due.into_iter().map(|(days, key)| {
            let address = address_of(&people, &key.username);
            EndingKey { key, days, address }
        });
        Ok(ending.collect())
    }

    /// Remembers that an owner was notified. `false`: another replica did it first, so that nobody is notified twice.
    pub async fn noted_end(&self, ending: &EndingKey) -> Result<bool, DeskError> {
        let change = Change::NotedEnd {
            id: ending.key.id.to_string(),
            days: ending.days,
        };
        let touched = self.store.people().change(&[change], &[]).await?;
        Ok(touched.iter().any(|rows| *rows > 0))
    }
}

/// Where the owner of a key can be reached. If several persons may be the owner, only the name that the key is for is
/// known to be right.
fn address_of(people: &[Person], name: &str) -> String {
    let owners = owners(people, name);
    let mut known = owners.iter().map(|person| person.email.as_str());
    let known = known.find(|email| email.contains('@'));
    let is_one = owners.iter().filter(|person| *person.id != *name).count() <= 1;
    known.filter(|_| is_one).unwrap_or(name).to_owned()
}

/// The notice that is due for a key, if any.
fn due(key: &ApiKey, now: i64) -> Option<i64> {
    let end = key.expires_at.filter(|_| key.revoked_at.is_none())?;
    // Keys that expired long ago need no notice.
    if end + DAY_MICROS < now {
        return None;
    }
    let reached = |days: &i64| end - days * DAY_MICROS <= now;
    let days = *NOTICE_DAYS.iter().rfind(|days| reached(days))?;
    let lived_through = key.created_at <= end - days * DAY_MICROS;
    let is_new = key.noted_days.is_none_or(|noted| noted > days);
    (lived_through && is_new).then_some(days)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn key(created: i64, end: i64, noted: Option<i64>) -> ApiKey {
        ApiKey {
            id: "k".into(),
            username: "ann@lab.org".into(),
            groups: Arc::default(),
            label: "".into(),
            project: "".into(),
            rights: Arc::default(),
            created_at: created * DAY_MICROS,
            confirmed_at: 0,
            expires_at: Some(end * DAY_MICROS),
            revoked_at: None,
            last_used_at: None,
            noted_days: noted,
        }
    }

    #[test]
    fn notices_come_14_3_and_0_days_before_the_end_and_once_each() {
        let at = |day: i64, noted| due(&key(0, 90, noted), day * DAY_MICROS);
        assert_eq!(at(75, None), None);
        assert_eq!(at(76, None), Some(14));
        assert_eq!(at(80, Some(14)), None);
        assert_eq!(at(87, Some(14)), Some(3));
        assert_eq!(at(90, Some(3)), Some(0));
        assert_eq!(at(90, Some(0)), None);
        // After a gap in the checks: only the notice that is due now.
        assert_eq!(at(88, None), Some(3));
        assert_eq!(at(92, None), None);
        // A key of one week gets no notice of two weeks.
        assert_eq!(due(&key(0, 7, None), 0), None);
        assert_eq!(due(&key(0, 7, None), 4 * DAY_MICROS), Some(3));
        let revoked = ApiKey {
            revoked_at: Some(1),
            ..key(0, 90, None)
        };
        assert_eq!(due(&revoked, 90 * DAY_MICROS), None);
    }
}
