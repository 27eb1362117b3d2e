use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rhai::{Blob, Dynamic, Engine, EvalAltResult};
use ring::{digest, hmac};

use super::secret::SecretText;

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// `sha256`, `hmac_sha256` (blobs of 32 bytes), `hex` and `base64url` (texts) and `random(below)`. Inputs and keys are
/// texts or blobs; a key may be a secret.
pub(super) fn register(engine: &mut Engine) {
    engine
        .register_fn("sha256", |data: Dynamic| -> Outcome<Blob> {
            let digest = bytes(&data, |data| digest::digest(&digest::SHA256, data))?;
            Ok(digest.as_ref().to_vec())
        })
        .register_fn(
            "hmac_sha256",
            |key: Dynamic, data: Dynamic| -> Outcome<Blob> {
                let key = match key.read_lock::<SecretText>() {
                    Some(secret) => hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()),
                    None => bytes(&key, |key| hmac::Key::new(hmac::HMAC_SHA256, key))?,
                };
                let tag = bytes(&data, |data| hmac::sign(&key, data))?;
                Ok(tag.as_ref().to_vec())
            },
        )
        .register_fn("hex", |data: Dynamic| -> Outcome<String> {
            bytes(&data, |data| hex::encode(data))
        })
        .register_fn("base64url", |data: Dynamic| -> Outcome<String> {
            bytes(&data, |data| URL_SAFE_NO_PAD.encode(data))
        })
        .register_fn("random", random);
}

fn bytes<T>(value: &Dynamic, work: impl FnOnce(&[u8]) -> T) -> Outcome<T> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(work(text.as_bytes()));
    }
    match value.as_blob_ref() {
        Ok(blob) => Ok(work(&blob)),
        Err(kind) => Err(format!("expected a text or a blob, not a value of type {kind}").into()),
    }
}

/// A whole number from 0 to one less than `below`, from the system's generator.
fn random(below: i64) -> Outcome<i64> {
    let below = u64::try_from(below).ok().filter(|below| *below > 0);
    let below = below.ok_or("`random` needs a number above 0")?;
    // Numbers beyond the last whole multiple would favour small results.
    let last = u64::MAX - u64::MAX % below;
    loop {
        let number = getrandom::u64().map_err(|error| error.to_string())?;
        if number < last {
            return i64::try_from(number % below).map_err(|error| error.to_string().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use ostia_core::Secret;
    use rhai::Scope;

    use super::*;

    fn eval(text: &str) -> Dynamic {
        let mut scope = Scope::new();
        scope.push("secret", SecretText::from(&Secret::new("key".to_owned())));
        let engine = super::super::engine();
        engine
            .eval_with_scope(&mut scope, text)
            .unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// RFC 4231 and FIPS 180-2 have no such short ones; these are well known.
    #[test]
    fn digests_are_those_of_the_standard() {
        let fox = "\"The quick brown fox jumps over the lazy dog\"";
        let hashed = "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592";
        let signed = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        for (text, expected) in [
            (format!("hex(sha256({fox}))"), hashed),
            (format!("hex(hmac_sha256(\"key\", {fox}))"), signed),
            (format!("hex(hmac_sha256(secret, {fox}))"), signed),
            (
                format!("hex(hmac_sha256(\"key\".to_blob(), {fox}.to_blob()))"),
                signed,
            ),
            (
                format!("base64url(sha256({fox}))"),
                "16j7swfXgJRpypq8sAguT41WUeRtPNt2LQLQvzfJ5ZI",
            ),
        ] {
            assert_eq!(eval(&text).into_string().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn random_numbers_stay_below_and_reach_everything() {
        let seen = eval(
            "let seen = #{}; for n in 0..1000 { seen[random(5).to_string()] = true; } seen.keys().len()",
        );
        assert_eq!(seen.as_int().unwrap(), 5);
        let engine = super::super::engine();
        assert!(engine.eval::<i64>("random(0)").is_err());
    }

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        for text in [
            "secret.to_string()",
            "`${secret}`",
            "(\"Bearer \" + secret).to_string()",
            "(secret + \"x\").to_string()",
            "[secret].to_string()",
            "#{a: secret}.to_string()",
        ] {
            let shown = eval(text).into_string().unwrap();
            assert!(!shown.contains("key"), "{text}: {shown}");
        }
        let engine = super::super::engine();
        let mut scope = Scope::new();
        scope.push(
            "secret",
            SecretText::from(&Secret::new("hunter2".to_owned())),
        );
        for text in [
            "throw secret",
            "throw `${secret}`",
            "secret.x()",
            "secret[0]",
            "sha256(secret)",
        ] {
            let error = engine
                .eval_with_scope::<Dynamic>(&mut scope, text)
                .unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}");
        }
    }
}
