use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, Header, Validation, decode,
    decode_header,
};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize as _;
use serde_json::Value;

/// How many keys of a set are read; a larger set is an attack.
const MOST_KEYS: usize = 100;

/// A token and its header's statements on the signature. Only [`Key::open`] gives its claims.
pub(super) struct Jwt<'a> {
    token: &'a str,
    header: Header,
}

/// A public key of the issuer, and its permitted use. Shared secrets are not supported, so none can be confused with a
/// public key, and `none` is not an algorithm.
pub(super) struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    material: DecodingKey,
}

/// The issuer that a token claims. It is unverified, and only used to choose the provider that verifies it.
pub(super) fn issuer_of(token: &str) -> Option<String> {
    let claims: Value = insecure_decode_claims(token).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

impl<'a> Jwt<'a> {
    /// Reads the head of a compact JWS (RFC 7515 section 7.1) that claims to be an access token. Refused, as RFC 8725
    /// advises: unknown algorithms, keys or key addresses within the token, unknown extensions, tokens of another kind.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let header = decode_header(token).ok()?;
        let brings_a_key = header.jwk.is_some() || header.jku.is_some() || header.x5u.is_some();
        let kid_is_short = header.kid.as_ref().is_none_or(|kid| kid.len() <= 256);
        let sound = !brings_a_key && kid_is_short && header.crit.is_none();
        (sound && is_access_type(header.typ.as_deref())).then_some(Self { token, header })
    }
}

impl Key {
    /// Reads a JWK set (RFC 7517 section 5). Keys that are not understood, or not for signatures, are left out. `None`:
    /// it is not a set, or is empty, which no working issuer has.
    pub(super) fn read_set(set: &Value) -> Option<Vec<Self>> {
        let keys = set.get("keys")?.as_array()?;
        if keys.is_empty() {
            return None;
        }
        Some(keys.iter().take(MOST_KEYS).filter_map(Self::read).collect())
    }

    /// The key that a token names: by `kid`, or without one the only key for its algorithm.
    pub(super) fn choose<'k>(keys: &'k [Self], jwt: &Jwt<'_>) -> Option<&'k Self> {
        let Header { alg, kid, .. } = &jwt.header;
        let mut fitting = keys
            .iter()
            .filter(|key| key.algorithms.contains(alg) && (kid.is_none() || key.kid == *kid));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key),
            _ => None,
        }
    }

    /// The token's claims, if this key signed them and they are an access token's. The caller checks its times, issuer
    /// and audience: the crate reads the system's clock, and accepts a list for `iss`.
    pub(super) fn open(&self, jwt: &Jwt<'_>) -> Option<Value> {
        self.claims(jwt).filter(|claims| !is_id_token(claims))
    }

    /// The same of a token of whichever kind.
    pub(super) fn claims(&self, jwt: &Jwt<'_>) -> Option<Value> {
        let mut rules = Validation::new(jwt.header.alg);
        rules.algorithms.clone_from(&self.algorithms);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        rules.validate_aud = false;
        install_ring();
        let claims: Value = decode(jwt.token, &self.material, &rules).ok()?.claims;
        claims.is_object().then_some(claims)
    }

    fn read(jwk: &Value) -> Option<Self> {
        let jwk = Jwk::deserialize(jwk).ok()?;
        let may_verify = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
            (Some(purpose), _) if *purpose != PublicKeyUse::Signature => false,
            (_, Some(uses)) => uses.contains(&KeyOperations::Verify),
            _ => true,
        };
        let allowed = match &jwk.algorithm {
            _ if !may_verify => return None,
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms(),
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(_) => AlgorithmFamily::Ed.algorithms(),
            _ => return None,
        };
        let algorithms = match jwk.common.key_algorithm {
            None => allowed.to_vec(),
            Some(name) => vec![Algorithm::try_from(name).ok()?],
        };
        let fitting = algorithms.iter().all(|one| allowed.contains(one));
        fitting.then_some(Self {
            algorithms,
            material: DecodingKey::from_jwk(&jwk).ok()?,
            kid: jwk.common.key_id,
        })
    }
}

/// The crate uses one provider for the whole process. If a site has installed one, that one is used.
fn install_ring() {
    static RING: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        verifier_factory: |algorithm, key| {
            let (algorithm, key) = (*algorithm, key.clone());
            Ok(Box::new(Ring { algorithm, key }))
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = RING.install_default();
    });
}

struct Ring {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], sealed: &Vec<u8>) -> Result<(), Error> {
        let verified = match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                let parameters = match self.algorithm {
                    Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return Err(Error::new()),
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, sealed)
            }
            DecodingKeyKind::SecretOrDer(point) => {
                let kind: &dyn VerificationAlgorithm = match self.algorithm {
                    Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
                    Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
                    Algorithm::EdDSA => &signature::ED25519,
                    _ => return Err(Error::new()),
                };
                UnparsedPublicKey::new(kind, point).verify(message, sealed)
            }
        };
        verified.map_err(|_| Error::new())
    }
}

/// RFC 9068 section 2.1; many issuers still say `JWT`, or nothing.
fn is_access_type(kind: Option<&str>) -> bool {
    let Some(kind) = kind else { return true };
    let kind = kind.to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    matches!(kind, "jwt" | "at+jwt")
}

/// ID tokens prove a sign-in to the client that asked for it; they give no access. They are recognised by the claims
/// that OpenID Connect Core section 3.1.3.6 puts into them only, and by the markers of Keycloak and Cognito.
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
