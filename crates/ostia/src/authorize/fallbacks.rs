use std::sync::Arc;

use super::{NoticeLookup, Permit, authorize};
use crate::identify::Principal;
use crate::read::Call;
use crate::resolve::Pool;

impl Permit {
    /// Adds the models that the catalog names as stand-ins, as far as this caller may use them for this call. `find`
    /// looks a model up where the request looked for its own.
    #[must_use]
    pub fn with_fallbacks(
        mut self,
        principal: &Principal,
        call: &Call,
        notices: &impl NoticeLookup,
        find: impl Fn(&str) -> Pool,
    ) -> Self {
        for name in self.fallback_names() {
            let permit = authorize(principal, find(&name), notices);
            let permit = permit.ok().and_then(|permit| permit.taking(call).ok());
            if let Some(permit) = permit {
                self.add_fallback(permit);
            }
        }
        self
    }

    /// For a model under maintenance: only its stand-ins answer, if there are any.
    pub fn of_stand_ins(
        principal: &Principal,
        pool: Pool,
        call: &Call,
        notices: &impl NoticeLookup,
        find: impl Fn(&str) -> Pool,
    ) -> Option<Self> {
        let permit = authorize(principal, pool, &NoMaintenance).ok()?;
        permit
            .with_fallbacks(principal, call, notices, find)
            .closed()
    }

    /// In the order in which its deployments name them.
    fn fallback_names(&self) -> Vec<Box<str>> {
        let mut names: Vec<Box<str>> = Vec::new();
        let named = self
            .deployments()
            .iter()
            .flat_map(|one| &one.fallback_models);
        for name in named {
            if !names.contains(name) && **name != **self.model() {
                names.push(name.clone());
            }
        }
        names
    }
}

/// Everything is open.
struct NoMaintenance;

impl NoticeLookup for NoMaintenance {
    fn notice(&self, _: &str) -> Option<Arc<str>> {
        None
    }

    fn model_notice(&self, _: &str) -> Option<Arc<str>> {
        None
    }
}
