use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use ostia_core::Identity;
use ring::hmac;

use crate::catalog::{CacheSalt, Deployment};
use crate::read::{Call, Form};

/// Makes of a caller what its backend may know: values that are always the same for the same caller, and say nothing of
/// who that is.
pub(super) struct Seal {
    key: hmac::Key,
    salt: CacheSalt,
    header: Option<HeaderName>,
}

/// APIs whose bodies have `cache_salt` in vLLM.
const SALTED: [&str; 7] = [
    "chat/completions",
    "completions",
    "responses",
    "embeddings",
    "pooling",
    "classify",
    "score",
];

impl Seal {
    /// `None`: the endpoint asks for nothing of the kind.
    pub fn of(deployment: &Deployment) -> Option<Self> {
        let isolation = &deployment.isolation;
        let key = isolation.key.as_ref()?;
        Some(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()),
            salt: isolation.cache_salt,
            header: isolation.affinity_header.clone(),
        })
    }

    /// What keeps the caller's prompts apart in the engine's cache.
    pub fn cache_salt(&self, model: &str, caller: &Identity, call: &Call) -> Option<String> {
        if call.form != Form::Json || !SALTED.contains(&call.api.as_str()) {
            return None;
        }
        let project = Some(&*caller.project).filter(|project| !project.is_empty());
        match (self.salt, project) {
            (CacheSalt::Off, _) => None,
            (CacheSalt::Project, Some(project)) => {
                Some(self.sign(&["cache-salt", "project", project, model]))
            }
            (CacheSalt::Project, None) | (CacheSalt::User, _) => {
                Some(self.sign(&["cache-salt", "user", &caller.user_id, model]))
            }
        }
    }

    /// The same for all requests of one session; without one, for all of the caller.
    pub fn affinity(
        &self,
        model: &str,
        caller: &Identity,
        call: &Call,
    ) -> Option<(&HeaderName, HeaderValue)> {
        let header = self.header.as_ref()?;
        let mut parts = vec!["affinity", &*caller.user_id, model];
        parts.extend(call.session.as_deref());
        let value = HeaderValue::try_from(self.sign(&parts)).ok()?;
        Some((header, value))
    }

    /// 43 characters of base64url. Each part goes in with its length, so that no two lists of parts are the same bytes.
    fn sign(&self, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        URL_SAFE_NO_PAD.encode(context.sign())
    }
}
