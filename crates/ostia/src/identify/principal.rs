use std::ops::Deref;
use std::sync::Arc;

use ostia_core::Identity;

/// A caller who has signed in. Only this room makes one.
#[derive(Debug, Clone)]
pub struct Principal {
    identity: Arc<Identity>,
}

impl Principal {
    pub(super) fn new(identity: Arc<Identity>) -> Self {
        Self { identity }
    }

    /// Somebody who signed in, for tests of later stages.
    #[cfg(test)]
    pub(crate) fn of_a_test(identity: Identity) -> Self {
        Self::new(Arc::new(identity))
    }

    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }
}

impl Deref for Principal {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}
