use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;
use crate::identify::Oidc;

const ISSUER: &str = "https://idp.example/realm";

struct Issuer {
    key: EcdsaKeyPair,
    kid: &'static str,
}

impl Issuer {
    fn new(kid: &'static str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        Self { key, kid }
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig",
            "x": encode(&point[1..33]), "y": encode(&point[33..]),
        })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        seal(header, claims, |text| {
            let sealed = self.key.sign(&SystemRandom::new(), text).unwrap();
            sealed.as_ref().to_vec()
        })
    }

    fn token(&self, more: Value) -> String {
        self.sign(
            &json!({"alg": "ES256", "kid": self.kid, "typ": "at+jwt"}),
            &claims(more),
        )
    }
}

fn claims(more: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "ostia", "sub": "s1", "exp": NOW + 300, "iat": NOW,
        "preferred_username": "ann@lab.org",
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn seal(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let sealed = sign(text.as_bytes());
    format!("{text}.{}", encode(&sealed))
}

/// Discovery, and a key set.
fn published(
    keys: Vec<Value>,
) -> impl Fn(&WebRequest) -> Result<WebAnswer, WebFault> + Send + Sync {
    move |request| match &*request.url.path {
        "/realm/.well-known/openid-configuration" => answer(
            200,
            &json!({"issuer": ISSUER, "jwks_uri": "https://keys.example/jwks"}),
        ),
        "/jwks" => answer(200, &json!({ "keys": keys })),
        other => panic!("{other} was asked for"),
    }
}

fn rig(keys: Vec<Value>) -> (Arc<FakeWeb>, Arc<ManualClock>, Identify) {
    let (web, clock) = (FakeWeb::new(published(keys)), clock());
    let settings = settings::Oidc {
        issuer: ISSUER.to_owned(),
        audience: vec!["ostia".to_owned()],
        vouching: settings::Vouching {
            claims: BTreeMap::from([("user".to_owned(), "preferred_username".to_owned())]),
            ..settings::Vouching::default()
        },
        ..settings::Oidc::default()
    };
    let provider = Oidc::new(&settings, Arc::clone(&web) as _, Arc::clone(&clock) as _).unwrap();
    let door = door(provider, &clock);
    (web, clock, door)
}

#[tokio::test]
async fn a_sound_token_signs_in_and_the_keys_are_read_once() {
    let issuer = Issuer::new("k1");
    let (web, _, door) = rig(vec![
        json!({"kty": "RSA", "kid": "k0", "n": "AQAB"}),
        issuer.jwk(),
    ]);
    for sub in ["s1", "s2", "s3"] {
        let user = sign_in(&door, &issuer.token(json!({"sub": sub})))
            .await
            .unwrap();
        assert_eq!(*user.user_id, format!("{ISSUER}#{sub}"));
        assert_eq!(
            (user.domain.as_deref(), &*user.auth_service),
            (Some("lab.org"), "oidc")
        );
    }
    assert_eq!(web.count(), 2);
}

#[tokio::test]
async fn ed25519_and_types_that_access_tokens_have() {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref())});
    let (_, _, door) = rig(vec![jwk]);
    let kinds = [json!("JWT"), json!("at+jwt"), json!("application/at+JWT")];
    for (n, typ) in kinds.into_iter().enumerate() {
        let header = json!({"alg": "EdDSA", "typ": typ});
        let token = seal(&header, &claims(json!({"n": n})), |text| {
            key.sign(text).as_ref().to_vec()
        });
        assert!(sign_in(&door, &token).await.is_ok(), "{header}");
    }
}

/// R20, the part that needs no RSA key: each is refused, and nothing but the issuer's own addresses is fetched.
#[tokio::test]
async fn forged_and_foreign_tokens_are_refused() {
    let issuer = Issuer::new("k1");
    let stranger = Issuer::new("k1");
    let es = |more: Value| {
        let mut header = json!({"alg": "ES256", "kid": "k1"});
        for (name, value) in more.as_object().unwrap() {
            header[name] = value.clone();
        }
        header
    };
    let good = claims(json!({}));
    let by_secret = |alg: &str| {
        let header = json!({"alg": alg, "kid": "k1"});
        let point = issuer.key.public_key().as_ref().to_vec();
        seal(&header, &good, move |text| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &point);
            ring::hmac::sign(&key, text).as_ref().to_vec()
        })
    };
    let whole = issuer.sign(&es(json!({})), &good);
    let mut torn = whole.clone();
    torn.truncate(whole.len() - 4);
    let tokens = [
        (
            "alg none",
            seal(&json!({"alg": "none"}), &good, |_| Vec::new()),
        ),
        (
            "alg none in capitals",
            seal(&json!({"alg": "NONE", "kid": "k1"}), &good, |_| Vec::new()),
        ),
        ("public key as a secret", by_secret("HS256")),
        ("secret under a public algorithm", by_secret("ES256")),
        (
            "another algorithm of another key type",
            issuer.sign(&json!({"alg": "RS256", "kid": "k1"}), &good),
        ),
        ("a stranger's key", stranger.sign(&es(json!({})), &good)),
        (
            "its own key",
            stranger.sign(&es(json!({"jwk": stranger.jwk()})), &good),
        ),
        (
            "a key elsewhere",
            stranger.sign(&es(json!({"jku": "https://evil.example/jwks"})), &good),
        ),
        (
            "a certificate elsewhere",
            issuer.sign(&es(json!({"x5u": "https://evil.example/x"})), &good),
        ),
        (
            "an extension",
            issuer.sign(&es(json!({"crit": ["b64"], "b64": false})), &good),
        ),
        (
            "a path as kid",
            issuer.sign(&es(json!({"kid": "../../dev/null"})), &good),
        ),
        (
            "SQL as kid",
            issuer.sign(&es(json!({"kid": "' OR 1=1 --"})), &good),
        ),
        (
            "a URL as kid",
            issuer.sign(&es(json!({"kid": "https://evil.example/k"})), &good),
        ),
        (
            "a number as kid",
            issuer.sign(&es(json!({"kid": 1})), &good),
        ),
        (
            "a logout token",
            issuer.sign(&es(json!({"typ": "logout+jwt"})), &good),
        ),
        ("an ID token by type", issuer.token(json!({"typ": "ID"}))),
        ("an ID token by nonce", issuer.token(json!({"nonce": "n"}))),
        (
            "an ID token by use",
            issuer.token(json!({"token_use": "id"})),
        ),
        ("wrong audience", issuer.token(json!({"aud": "other"}))),
        ("no audience", issuer.token(json!({"aud": null}))),
        ("no subject", issuer.token(json!({"sub": null}))),
        ("no expiry", issuer.token(json!({"exp": null}))),
        ("not yet", issuer.token(json!({"nbf": NOW + 61}))),
        ("bound to a key", issuer.token(json!({"cnf": {"jkt": "x"}}))),
        (
            "wrong issuer",
            issuer.token(json!({"iss": "https://idp.example"})),
        ),
        (
            "issuer with a slash",
            issuer.token(json!({"iss": format!("{ISSUER}/")})),
        ),
        ("torn signature", torn),
        ("two signatures", format!("{whole}.{whole}")),
        ("a JWE", format!("{whole}.a.b")),
        (
            "claims that are not an object",
            issuer.sign(&es(json!({})), &json!([1])),
        ),
    ];
    for (what, token) in tokens {
        let (web, _, door) = rig(vec![issuer.jwk()]);
        assert_eq!(
            sign_in(&door, &token).await,
            Err(SignInError::InvalidKey),
            "{what}"
        );
        let hosts: Vec<_> = web
            .calls()
            .iter()
            .map(|call| call.url.origin.host.to_string())
            .collect();
        assert!(
            hosts.iter().all(|host| host != "evil.example"),
            "{what}: {hosts:?}"
        );
    }
    let (_, _, door) = rig(vec![issuer.jwk()]);
    assert_eq!(
        sign_in(&door, &issuer.token(json!({"exp": NOW}))).await,
        Err(SignInError::Expired)
    );
    assert!(sign_in(&door, &whole).await.is_ok());
}

/// A key may be for one algorithm, one use.
#[tokio::test]
async fn keys_are_used_for_what_they_are_for() {
    let issuer = Issuer::new("k1");
    for (field, value) in [
        ("use", json!("enc")),
        ("alg", json!("ES384")),
        ("alg", json!("RS256")),
        ("key_ops", json!(["sign"])),
        ("x", json!("AAAA")),
        ("kty", json!("oct")),
    ] {
        let mut jwk = issuer.jwk();
        jwk[field] = value;
        let (_, _, door) = rig(vec![jwk]);
        assert_eq!(
            sign_in(&door, &issuer.token(json!({}))).await,
            Err(SignInError::InvalidKey),
            "{field}"
        );
    }
}

/// R73: whoever makes up key ids makes us read the keys once a minute.
#[tokio::test]
async fn unknown_key_ids_do_not_reach_the_issuer() {
    let issuer = Issuer::new("k1");
    let (web, clock, door) = rig(vec![issuer.jwk()]);
    assert!(sign_in(&door, &issuer.token(json!({}))).await.is_ok());
    for n in 0..25 {
        let header = json!({"alg": "ES256", "kid": format!("made-up-{n}")});
        let token = issuer.sign(&header, &claims(json!({})));
        assert_eq!(sign_in(&door, &token).await, Err(SignInError::InvalidKey));
    }
    assert_eq!(web.count(), 4);
    // After such a call a rotation is seen once the minute is over.
    let next = Issuer::new("k2");
    web.now(published(vec![issuer.jwk(), next.jwk()]));
    clock.advance(Duration::from_secs(60));
    assert!(sign_in(&door, &next.token(json!({}))).await.is_ok());
    assert_eq!(web.count(), 6);
}

/// The ordinary reading of the keys must not keep a rotation right after it from being seen.
#[tokio::test]
async fn a_key_that_is_new_right_after_an_ordinary_load_is_asked_for_at_once() {
    let (issuer, next) = (Issuer::new("k1"), Issuer::new("k2"));
    let (web, clock, door) = rig(vec![issuer.jwk()]);
    assert!(sign_in(&door, &issuer.token(json!({}))).await.is_ok());
    web.now(published(vec![issuer.jwk(), next.jwk()]));
    clock.advance(Duration::from_secs(1));
    assert!(sign_in(&door, &next.token(json!({}))).await.is_ok());
    assert_eq!(web.count(), 4);
    // Nor may one that fails make a token bad that nobody could judge.
    web.now(|_| Err(WebFault::Timeout));
    clock.advance(Duration::from_secs(600));
    let later = Issuer::new("k3");
    assert_eq!(
        sign_in(&door, &later.token(json!({"exp": NOW + 9_000}))).await,
        Err(SignInError::IdentityUnavailable)
    );
}

/// An issuer that shows no keys for a while has not revoked anything: those that were read go on.
#[tokio::test]
async fn an_empty_key_set_takes_nothing_back() {
    let issuer = Issuer::new("k1");
    let (web, clock, door) = rig(vec![issuer.jwk()]);
    assert!(
        sign_in(&door, &issuer.token(json!({"sub": "s1"})))
            .await
            .is_ok()
    );
    web.now(published(vec![]));
    clock.advance(Duration::from_secs(601));
    let later = issuer.token(json!({"sub": "s2", "exp": NOW + 9_000}));
    assert!(sign_in(&door, &later).await.is_ok());
}

/// R70: an issuer that is away at the start, and later.
#[tokio::test]
async fn an_issuer_that_is_away_denies_nobody() {
    let issuer = Issuer::new("k1");
    let (web, clock, door) = rig(vec![]);
    web.now(|_| Err(WebFault::Unreachable("refused".to_owned())));
    assert_eq!(
        sign_in(&door, &issuer.token(json!({}))).await,
        Err(SignInError::IdentityUnavailable)
    );
    web.now(published(vec![issuer.jwk()]));
    clock.advance(Duration::from_millis(500));
    assert!(sign_in(&door, &issuer.token(json!({}))).await.is_ok());
    // Keys that were read go on for a while.
    web.now(|_| Err(WebFault::Timeout));
    clock.advance(Duration::from_secs(900));
    let later = json!({"exp": NOW + 9_000});
    assert!(sign_in(&door, &issuer.token(later)).await.is_ok());
    let unknown = Issuer::new("k9").token(json!({"exp": NOW + 9_000}));
    assert_eq!(
        sign_in(&door, &unknown).await,
        Err(SignInError::IdentityUnavailable)
    );
}

#[tokio::test]
async fn lying_issuers_open_nothing() {
    let issuer = Issuer::new("k1");
    let documents = [
        json!({"issuer": "https://evil.example", "jwks_uri": "https://keys.example/jwks"}),
        json!({"issuer": ISSUER, "jwks_uri": "http://keys.example/jwks"}),
        json!({"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": ISSUER}),
        json!([]),
    ];
    for document in documents {
        let (web, _, door) = rig(vec![]);
        let shown = document.to_string();
        web.now(move |_| answer(200, &document));
        let outcome = sign_in(&door, &issuer.token(json!({}))).await;
        assert_eq!(outcome, Err(SignInError::IdentityUnavailable), "{shown}");
        assert_eq!(web.count(), 1, "{shown}");
    }
    for set in [
        json!({"keys": []}),
        json!({"keys": {}}),
        json!({}),
        json!([]),
    ] {
        let (web, _, door) = rig(vec![]);
        let shown = set.to_string();
        let discovery = published(vec![]);
        web.now(move |request| match &*request.url.path {
            "/jwks" => answer(200, &set),
            _ => discovery(request),
        });
        let outcome = sign_in(&door, &issuer.token(json!({}))).await;
        assert_eq!(outcome, Err(SignInError::IdentityUnavailable), "{shown}");
    }
    // Ten thousand keys are looked at as far as is sensible.
    let many = (0..10_000)
        .map(|n| json!({"kty": "OKP", "crv": "Ed25519", "kid": n.to_string(), "x": "AA"}));
    let (_, _, door) = rig(many.chain([issuer.jwk()]).collect());
    assert_eq!(
        sign_in(&door, &issuer.token(json!({}))).await,
        Err(SignInError::InvalidKey)
    );
}
