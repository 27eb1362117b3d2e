use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::session::Ticket;

/// How long a link works.
const AGE: Duration = Duration::from_secs(3_600);

/// Links that sign somebody in once, for a gateway on somebody's own machine.
#[derive(Default)]
pub(super) struct Links(Mutex<HashMap<[u8; 32], Link>>);

struct Link {
    /// SHA-256 of the key that it stands for.
    key: [u8; 32],
    until: Instant,
}

impl Links {
    pub fn add(&self, ticket: &Ticket, key: [u8; 32], now: Instant) {
        let until = now + AGE;
        self.0.lock().insert(ticket.id(), Link { key, until });
    }

    /// What a link stands for. It works no more afterwards.
    pub fn take(&self, ticket: &Ticket, now: Instant) -> Option<[u8; 32]> {
        let link = self.0.lock().remove(&ticket.id())?;
        (now < link.until).then_some(link.key)
    }
}

#[cfg(test)]
mod tests {
    use ostia_core::{Clock as _, SystemClock};

    use super::*;

    #[test]
    fn a_link_works_once_and_not_for_ever() {
        let (links, now) = (Links::default(), SystemClock.now());
        let (one, late) = (Ticket::new().unwrap(), Ticket::new().unwrap());
        links.add(&one, [1; 32], now);
        links.add(&late, [2; 32], now);
        assert_eq!(links.take(&one, now), Some([1; 32]));
        assert_eq!(links.take(&one, now), None);
        assert_eq!(links.take(&late, now + AGE), None);
    }
}
