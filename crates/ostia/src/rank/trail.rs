use std::sync::Arc;

use ostia_core::Identity;

use super::choice::{Home, likely_uncached};
use crate::catalog::{CacheSalt, Deployment};
use crate::fleet::Prefixes;
use crate::read::Call;
use crate::scan::{PrintKey, print_of};

/// What endpoints may know a request by: its session, and the beginnings of its prompt. Contains only keyed hashes.
#[derive(Debug, Default)]
pub struct Trail {
    /// Estimated tokens of the prompt.
    prompt: u64,
    session: Option<u64>,
    /// The hashes of ever longer beginnings, for each way in which endpoints separate their caches.
    chains: Vec<(CacheSalt, Vec<u64>)>,
}

impl Trail {
    /// `key`: `None` if there is only one endpoint to choose.
    pub fn of(
        call: &Call,
        who: &Identity,
        key: Option<PrintKey>,
        deployments: &[Arc<Deployment>],
    ) -> Self {
        let prompt = match call.api.runs_a_model() {
            true => call.prompt_estimate,
            false => 0,
        };
        let mut trail = Self {
            prompt,
            ..Self::default()
        };
        let (Some(key), [first, _, ..]) = (key, deployments) else {
            return trail;
        };
        trail.session = call
            .session
            .as_ref()
            .map(|session| print_of(key, &["session", &who.user_id, &first.model, session]));
        if call.prints.is_empty() {
            return trail;
        }
        for deployment in deployments {
            let salt = deployment.isolation.cache_salt;
            if trail.chain(salt).is_none() {
                let [scope, whose] = shared_by(salt, who);
                let chain = call.prints.chain(key, &[&deployment.model, scope, whose]);
                trail.chains.push((salt, chain));
            }
        }
        trail
    }

    /// For each endpoint: why it may have part of the work done, and how many tokens are likely to be new to it.
    pub(super) fn known_to(
        &self,
        deployments: &[Arc<Deployment>],
        prefixes: &Prefixes,
    ) -> Vec<(Home, u64)> {
        let numbers: Vec<u32> = deployments.iter().map(|one| one.state.number()).collect();
        let settled = self.session.and_then(|session| prefixes.last(session));
        let mut known: Vec<(Home, u64)> = numbers
            .iter()
            .map(|number| match settled == Some(*number) {
                true => (Home::Session, self.prompt),
                false => (Home::None, self.prompt),
            })
            .collect();
        for (salt, chain) in &self.chains {
            let seen = prefixes.seen(chain, &numbers);
            let all = deployments.iter().zip(&mut known).zip(seen);
            for ((deployment, (home, uncached)), seen) in all {
                if seen > 0 && deployment.isolation.cache_salt == *salt {
                    *uncached = likely_uncached(self.prompt, seen, chain.len());
                    *home = (*home).min(Home::Prefix);
                }
            }
        }
        known
    }

    /// Records that an endpoint gets the request.
    pub(super) fn leads_to(&self, deployment: &Deployment, prefixes: &Prefixes) {
        let number = deployment.state.number();
        if let Some(session) = self.session {
            prefixes.note(&[session], number);
        }
        if let Some(chain) = self.chain(deployment.isolation.cache_salt) {
            prefixes.note(chain, number);
        }
    }

    fn chain(&self, salt: CacheSalt) -> Option<&[u64]> {
        let known = self.chains.iter().find(|(known, _)| *known == salt);
        known.map(|(_, chain)| chain.as_slice())
    }
}

/// Who shares an engine's cache, as in `cache_salt`.
fn shared_by(salt: CacheSalt, who: &Identity) -> [&str; 2] {
    match salt {
        CacheSalt::Off => ["all", ""],
        CacheSalt::Project if !who.project.is_empty() => ["project", &who.project],
        CacheSalt::Project | CacheSalt::User => ["user", &who.user_id],
    }
}
