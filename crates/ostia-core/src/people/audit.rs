use ring::digest;

/// Something that somebody did to people, keys, projects or the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditEvent {
    /// Unix microseconds.
    pub at: i64,
    /// Who did it: a username, or for the command line the account on the machine.
    pub actor: String,
    /// The role that allowed it; empty: no role was needed.
    pub role: String,
    /// The client's address; empty for commands on the machine itself.
    pub address: String,
    /// `key.create`, `user.disable`, ...
    pub action: String,
    /// The object that was changed.
    pub object: String,
    /// As JSON; empty if it does not apply.
    pub before: String,
    pub after: String,
    pub reason: String,
    pub request_id: String,
}

/// A stored event. Each hash covers the one before, so nobody can change or remove an event without breaking all later
/// hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditRow {
    /// Consecutive numbers.
    pub number: i64,
    pub event: AuditEvent,
    pub previous: String,
    pub hash: String,
}

/// Which events to return, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Unix microseconds.
    pub since: i64,
    pub until: Option<i64>,
    pub actor: Option<String>,
    pub action: Option<String>,
    pub object: Option<String>,
    /// Only events with a smaller number, to get the next page.
    pub before: Option<i64>,
    pub limit: i64,
}

impl AuditEvent {
    /// SHA-256 over all parts, each preceded by its length, so that two different events never hash the same bytes.
    pub fn hash(&self, number: i64, previous: &str) -> String {
        let (number, at) = (number.to_string(), self.at.to_string());
        let parts = [
            previous,
            &number,
            &at,
            &self.actor,
            &self.role,
            &self.address,
            &self.action,
            &self.object,
            &self.before,
            &self.after,
            &self.reason,
            &self.request_id,
        ];
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex::encode(context.finish())
    }

    /// The row that follows the one with this number and hash.
    pub fn after(self, last: Option<(i64, &str)>) -> AuditRow {
        let (number, previous) = last.map_or((1, ""), |(number, hash)| (number + 1, hash));
        AuditRow {
            hash: self.hash(number, previous),
            number,
            previous: previous.to_owned(),
            event: self,
        }
    }
}

/// The number of the first row that was changed, or before which one is missing. `rows` must be in ascending order;
/// rows before the first of them may have been pruned.
pub fn broken_link(rows: &[AuditRow]) -> Option<i64> {
    let is_whole = |row: &AuditRow| row.hash == row.event.hash(row.number, &row.previous);
    if let Some(first) = rows.first().filter(|row| !is_whole(row)) {
        return Some(first.number);
    }
    let mut pairs = rows.iter().zip(rows.iter().skip(1));
    let broken = pairs.find(|(before, row)| {
        !is_whole(row) || row.previous != before.hash || row.number != before.number + 1
    });
    broken.map(|(_, row)| row.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: i64) -> Vec<AuditRow> {
        let mut rows: Vec<AuditRow> = Vec::new();
        for at in 0..length {
            let event = AuditEvent {
                at,
                actor: "root".to_owned(),
                action: "user.disable".to_owned(),
                object: format!("u{at}"),
                ..AuditEvent::default()
            };
            let last = rows.last().map(|row| (row.number, &*row.hash));
            let row = event.after(last);
            rows.push(row);
        }
        rows
    }

    #[test]
    fn a_changed_or_missing_event_is_seen() {
        assert_eq!(broken_link(&[]), None);
        assert_eq!(broken_link(&chain(5)), None);
        assert_eq!(broken_link(&chain(5)[2..]), None);
        for victim in 0..5 {
            let mut rows = chain(5);
            rows[victim].event.object = "somebody else".to_owned();
            assert_eq!(broken_link(&rows), Some(victim as i64 + 1));
            let hash = rows[victim]
                .event
                .hash(rows[victim].number, &rows[victim].previous);
            rows[victim].hash = hash;
            let told = (victim < 4).then_some(victim as i64 + 2);
            assert_eq!(broken_link(&rows), told);
        }
        let mut rows = chain(5);
        rows.remove(2);
        assert_eq!(broken_link(&rows), Some(4));
    }

    #[test]
    fn parts_cannot_be_moved_from_one_field_to_another() {
        let event = |actor: &str, role: &str| AuditEvent {
            actor: actor.to_owned(),
            role: role.to_owned(),
            ..AuditEvent::default()
        };
        let (one, other) = (event("ab", "c"), event("a", "bc"));
        assert_ne!(one.hash(1, ""), other.hash(1, ""));
    }
}
