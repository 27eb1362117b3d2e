use ostia_testkit::idp::{Signing, seal};
use ring::hmac;
use serde_json::json;

use super::*;

#[tokio::test]
async fn each_token_goes_to_the_provider_it_is_of() {
    let (idp, backend, gateway) = oidc_rig().await;
    idp.introspected("opaque", active("bob", &["g"]));
    let claims = idp.claims(AUDIENCE, "ann", now());
    for signing in [Signing::Rs256, Signing::Es256] {
        let token = idp.minter().mint(signing, &claims);
        let ann = gateway.call(&whoami(&token)).await.json();
        assert_eq!(ann["id"], format!("{}#ann", idp.base_url()));
        assert_eq!(
            (&ann["username"], &ann["auth_service"]),
            (&json!("ann@example.org"), &json!("oidc"))
        );
    }
    let bob = gateway.call(&whoami("opaque")).await.json();
    assert_eq!(
        (&bob["username"], &bob["auth_service"]),
        (&json!("bob@lab.org"), &json!("introspection"))
    );
    let key = gateway.site().secrets.client_bearer();
    assert_eq!(
        gateway.call(&whoami(&key)).await.json()["auth_service"],
        "api_key"
    );
    assert_eq!(
        gateway.call(&whoami("sk-ostia-unknown")).await.status(),
        401
    );
    // No provider was asked about another one's token.
    assert_eq!(
        (
            idp.calls_to("/introspect"),
            idp.calls_to("/jwks"),
            idp.calls().len()
        ),
        (1, 1, 3)
    );
    gateway.finish(&[&backend]).await;
}

/// R20, with an RSA key: forged tokens of every kind, and a URL that must not be fetched.
#[tokio::test]
async fn forged_tokens_are_refused_and_nothing_is_fetched_for_them() {
    let (idp, backend, gateway) = oidc_rig().await;
    let attacker = FakeIdp::start().await;
    let claims = idp.claims(AUDIENCE, "ann", now());
    let jku =
        json!({"alg": "ES256", "kid": "ec-1", "jku": format!("{}/jwks", attacker.base_url())});
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        idp.minter().mint(Signing::Rs256, &changed)
    };
    let by_modulus = seal(&json!({"alg": "HS256", "kid": "rsa-1"}), &claims, |text| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &idp.minter().rsa_modulus());
        hmac::sign(&key, text).as_ref().to_vec()
    });
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
    let tokens = [
        seal(&json!({"alg": "none"}), &claims, |_| Vec::new()),
        by_modulus,
        attacker.minter().mint(Signing::Es256, &claims),
        attacker.minter().mint_with(Signing::Es256, &jku, &claims),
        idp.minter()
            .mint_with(Signing::Rs256, &header("PS256", "rsa-1"), &claims),
        idp.minter()
            .mint_with(Signing::Rs256, &header("ES256", "rsa-1"), &claims),
        idp.minter()
            .mint_with(Signing::Es256, &header("ES256", "rsa-1"), &claims),
        with("aud", json!("other")),
        with("aud", json!(null)),
        with("exp", json!(null)),
        with("nbf", json!(now() + 3_600)),
        with("nonce", json!("n")),
    ];
    for (n, token) in tokens.iter().enumerate() {
        let answer = gateway.call(&whoami(token)).await;
        assert_eq!(
            refusal(&answer),
            (401, "invalid_api_key".to_owned()),
            "token {n}"
        );
    }
    assert_eq!(
        refusal(&gateway.call(&whoami(&with("exp", json!(now() - 2)))).await),
        (401, "token_expired".to_owned())
    );
    assert!(attacker.calls().is_empty());
    // The first load, and one more for the unknown key.
    assert!(idp.calls_to("/jwks") <= 2);
    let sound = idp.minter().mint(Signing::Rs256, &claims);
    assert_eq!(gateway.call(&whoami(&sound)).await.status(), 200);
    gateway.finish(&[&backend]).await;
}
