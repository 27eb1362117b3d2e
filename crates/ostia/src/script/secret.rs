use std::fmt;

use ostia_core::Secret;
use rhai::{Dynamic, Engine, EvalAltResult};

/// A secret within a script. It can be used in headers and signatures, alone or with text around it; printed, logged or
/// thrown it reads `[redacted]`.
#[derive(Debug, Clone)]
pub struct SecretText(Secret<String>);

impl From<&Secret<String>> for SecretText {
    fn from(secret: &Secret<String>) -> Self {
        Self(secret.clone())
    }
}

impl SecretText {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }

    fn between(&self, before: &str, after: &str) -> Self {
        Self(Secret::new(format!("{before}{}{after}", self.0.expose())))
    }
}

/// The text of a value that may be a secret, and whether it is one.
pub fn text_of(value: &Dynamic) -> Result<(String, bool), Box<EvalAltResult>> {
    if let Some(secret) = value.read_lock::<SecretText>() {
        return Ok((secret.0.expose().clone(), true));
    }
    let text = value
        .as_immutable_string_ref()
        .map_err(|kind| format!("expected a text, not a value of type {kind}"))?;
    Ok((text.to_string(), false))
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<SecretText>("Secret")
        .register_fn("+", |before: &str, secret: SecretText| {
            secret.between(before, "")
        })
        .register_fn("+", |secret: SecretText, after: &str| {
            secret.between("", after)
        })
        .register_fn("to_string", |secret: &mut SecretText| secret.to_string())
        .register_fn("to_debug", |secret: &mut SecretText| secret.to_string());
}
