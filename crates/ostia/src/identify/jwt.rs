use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

/// Signature algorithms (RFC 7518 section 3.1, RFC 8037). All need a public key: nobody can confuse one with a secret, and
/// `none` is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Es256,
    Es384,
    EdDsa,
}

const NAMES: [(&str, Algorithm); 7] = [
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
];

const RSA: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
];

/// Keys that are looked at in a set; more are no set but an attack.
const MOST_KEYS: usize = 100;

/// A token taken apart. Nothing in it is believed before [`Key::signed`] says so.
pub(super) struct Jwt<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

/// A public key of the issuer, and what it may be used for.
pub(super) struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    material: Material,
}

enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A curve's point, or an Ed25519 key.
    Point(Vec<u8>),
}

/// What a token says of its issuer; unproven, good for choosing who is to prove it.
pub(super) fn issuer_of(token: &str) -> Option<String> {
    let [_, claims, _] = parts(token)?;
    let claims: Value = serde_json::from_slice(&decode(claims)?).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

impl<'a> Jwt<'a> {
    /// Reads a compact JWS (RFC 7515 section 7.1) that claims to be an access token. What RFC 8725 warns of is refused here:
    /// unknown algorithms, keys or key addresses within the token, extensions nobody understands, tokens of another kind.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let [header, claims, sealed] = parts(token)?;
        let signed = &token[..header.len() + 1 + claims.len()];
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        let header = header.as_object()?;
        let brings_a_key = ["jwk", "jku", "x5u"]
            .iter()
            .any(|name| header.contains_key(*name));
        if brings_a_key || header.contains_key("crit") || !is_access_type(header.get("typ")) {
            return None;
        }
        let kid = match header.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().filter(|kid| kid.len() <= 256)?.to_owned()),
        };
        let claims: Value = serde_json::from_slice(&decode(claims)?).ok()?;
        (claims.is_object() && !is_id_token(&claims)).then_some(())?;
        Some(Self {
            algorithm: algorithm(header.get("alg")?.as_str()?)?,
            kid,
            claims,
            signed,
            signature: decode(sealed)?,
        })
    }
}

impl Key {
    /// Reads a JWK set (RFC 7517 section 5). Keys that are not understood, or not for signatures, are left out. `None`: it
    /// is no set, or an empty one, which no issuer that works has.
    pub(super) fn read_set(set: &Value) -> Option<Vec<Self>> {
        let keys = set.get("keys")?.as_array()?;
        if keys.is_empty() {
            return None;
        }
        Some(keys.iter().take(MOST_KEYS).filter_map(Self::read).collect())
    }

    /// The one key that a token means: by `kid`, or without one the only key for its algorithm.
    pub(super) fn choose<'k>(keys: &'k [Self], jwt: &Jwt<'_>) -> Option<&'k Self> {
        let mut fitting = keys.iter().filter(|key| {
            key.algorithms.contains(&jwt.algorithm) && (jwt.kid.is_none() || key.kid == jwt.kid)
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key),
            _ => None,
        }
    }

    /// Whether this key made the token's signature.
    pub(super) fn signed(&self, jwt: &Jwt<'_>) -> bool {
        if !self.algorithms.contains(&jwt.algorithm) {
            return false;
        }
        let (message, sealed) = (jwt.signed.as_bytes(), &jwt.signature);
        let verified = match &self.material {
            Material::Rsa { n, e } => {
                let parameters = match jwt.algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, sealed)
            }
            Material::Point(point) => {
                let kind: &dyn signature::VerificationAlgorithm = match jwt.algorithm {
                    Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
                    Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
                    Algorithm::EdDsa => &signature::ED25519,
                    _ => return false,
                };
                UnparsedPublicKey::new(kind, point).verify(message, sealed)
            }
        };
        verified.is_ok()
    }

    fn read(jwk: &Value) -> Option<Self> {
        let word = |name: &str| jwk.get(name).and_then(Value::as_str);
        let number = |name: &str| {
            word(name)
                .and_then(decode)
                .filter(|bytes| !bytes.is_empty())
        };
        if word("use").is_some_and(|purpose| purpose != "sig") || !may_verify(jwk) {
            return None;
        }
        let (allowed, material): (&[Algorithm], _) = match (word("kty")?, word("crv")) {
            ("RSA", _) => (
                RSA,
                Material::Rsa {
                    n: number("n")?,
                    e: number("e")?,
                },
            ),
            ("EC", Some("P-256")) => (&[Algorithm::Es256], point(number("x")?, number("y")?, 32)?),
            ("EC", Some("P-384")) => (&[Algorithm::Es384], point(number("x")?, number("y")?, 48)?),
            ("OKP", Some("Ed25519")) => (&[Algorithm::EdDsa], Material::Point(number("x")?)),
            _ => return None,
        };
        let algorithms = match word("alg") {
            None => allowed.to_vec(),
            Some(name) => vec![algorithm(name).filter(|one| allowed.contains(one))?],
        };
        Some(Self {
            kid: word("kid").map(str::to_owned),
            algorithms,
            material,
        })
    }
}

fn may_verify(jwk: &Value) -> bool {
    match jwk.get("key_ops").and_then(Value::as_array) {
        Some(uses) => uses.iter().any(|one| one.as_str() == Some("verify")),
        None => true,
    }
}

/// An uncompressed point (SEC 1 section 2.3.3).
fn point(x: Vec<u8>, y: Vec<u8>, size: usize) -> Option<Material> {
    (x.len() == size && y.len() == size).then(|| Material::Point([vec![4], x, y].concat()))
}

fn parts(token: &str) -> Option<[&str; 3]> {
    let mut parts = token.split('.');
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn algorithm(name: &str) -> Option<Algorithm> {
    NAMES
        .iter()
        .find_map(|(known, algorithm)| (*known == name).then_some(*algorithm))
}

/// RFC 9068 section 2.1; many issuers still say `JWT`, or nothing.
fn is_access_type(kind: Option<&Value>) -> bool {
    let Some(kind) = kind else { return true };
    let Some(kind) = kind.as_str() else {
        return false;
    };
    let kind = kind.to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    matches!(kind, "jwt" | "at+jwt")
}

/// ID tokens prove a sign-in to the client that asked for it; they are no key to anything. The marks: what OpenID Connect
/// Core section 3.1.3.6 puts into them alone, and the words of Keycloak and Cognito.
fn is_id_token(claims: &Value) -> bool {
    let says = |claim: &str, words: &[&str]| {
        claims
            .get(claim)
            .and_then(Value::as_str)
            .is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
    };
    ["nonce", "at_hash", "c_hash"]
        .iter()
        .any(|claim| claims.get(claim).is_some())
        || says("typ", &["ID", "Refresh", "Offline", "Logout"])
        || says("token_use", &["id", "refresh"])
}
