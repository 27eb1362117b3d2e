use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Backend, DirectApi, EndpointAdapter, Entry};

/// The backend of endpoints that name no other.
pub const DIRECT_API: &str = "direct_api";

/// What the names in fixtures and in `[adapters]` mean: each kind of backend with its constructor, and hooks written in
/// Rust.
#[derive(Clone)]
pub struct Registry {
    kinds: BTreeMap<Box<str>, Constructor>,
    hooks: BTreeMap<Box<str>, Arc<dyn EndpointAdapter>>,
}

type Constructor = fn(&mut Entry<'_>) -> Option<BackendKind>;

/// A backend. The direct API is called without indirection; every other kind through its vtable.
#[derive(Clone)]
pub(super) enum BackendKind {
    Direct,
    Other(Arc<dyn Backend>),
}

impl Default for Registry {
    fn default() -> Self {
        let direct: Constructor =
            |entry| DirectApi::open(entry).map(|DirectApi| BackendKind::Direct);
        Self {
            kinds: BTreeMap::from([(DIRECT_API.into(), direct)]),
            hooks: BTreeMap::new(),
        }
    }
}

impl Registry {
    /// Registers a kind of backend. It replaces an earlier one of the same name.
    pub fn add_backend<B: Backend>(&mut self, name: &str) {
        let other: Constructor =
            |entry| B::open(entry).map(|made| BackendKind::Other(Arc::new(made)));
        self.kinds.insert(name.into(), other);
    }

    pub fn add_hooks(&mut self, name: &str, hooks: Arc<dyn EndpointAdapter>) {
        self.hooks.insert(name.into(), hooks);
    }

    pub fn has_backend(&self, name: &str) -> bool {
        self.kinds.contains_key(name)
    }

    pub fn hooks(&self, name: &str) -> Option<&Arc<dyn EndpointAdapter>> {
        self.hooks.get(name)
    }

    pub fn backend_names(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(|name| &**name)
    }

    /// All names; backends come first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let hooks = self.hooks.keys().map(|name| &**name);
        self.backend_names().chain(hooks)
    }

    /// Reports mistakes in an entry's `config` for this kind of backend and these hooks.
    pub fn check(&self, kind: &str, hooks: Option<&str>, entry: &mut Entry<'_>) {
        if let Some(hooks) = hooks.and_then(|name| self.hooks.get(name)) {
            hooks.check(entry);
        }
        // A name without a constructor is reported where it is written.
        let _ = self.open(kind, entry);
    }

    pub(super) fn open(&self, kind: &str, entry: &mut Entry<'_>) -> Option<BackendKind> {
        self.kinds.get(kind)?(entry)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
