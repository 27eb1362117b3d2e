use std::sync::Arc;

use ostia::authorize::may_use;
use ostia::catalog::{Deployment, Serving};
use ostia::rank::Signals;
use ostia_core::Identity;

use super::around::Around;

/// The order in which a user's endpoints would get the next request of somebody whom none of them knows yet.
pub(super) struct Ranks(Vec<(Arc<str>, Signals)>);

impl Ranks {
    pub(super) fn of(found: &[Arc<Deployment>], who: &Identity, around: &Around) -> Self {
        let usable = found
            .iter()
            .filter(|one| one.serving == Serving::Yes && may_use(one, who));
        let mut ranks: Vec<_> = usable
            .map(|one| (Arc::clone(&one.slug), around.signals(one)))
            .collect();
        ranks.sort_by_key(|(_, signals)| signals.number());
        Self(ranks)
    }

    /// The rank from 1, what decided it, and the tokens of work in flight. Equal endpoints share their rank: chance
    /// decides.
    pub(super) fn place(&self, deployment: &Deployment) -> Option<(usize, &'static str, u64)> {
        let mut all = self.0.iter();
        let (_, own) = all.find(|(slug, _)| *slug == deployment.slug)?;
        let before = self.0.iter().filter(|(_, one)| one.number() < own.number());
        let is_second = self.0.iter().any(|(_, one)| one.priority < own.priority);
        let signal = match own.signal() {
            "work" if is_second => "priority",
            signal => signal,
        };
        Some((before.count() + 1, signal, own.work))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
