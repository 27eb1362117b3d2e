use serde_json::json;

use super::*;
use crate::identify::Introspection;

fn active(more: Value) -> Value {
    let mut said = json!({
        "active": true, "sub": "s1", "username": "ann@lab.org", "scope": "openid inference",
        "aud": ["other", "ostia"], "exp": NOW + 300, "iss": "https://idp.example",
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(said.as_object_mut().unwrap().remove(name)),
            value => said[name] = value.clone(),
        }
    }
    said
}

async fn outcome(
    script: impl Fn(&WebRequest) -> Result<WebAnswer, WebFault> + Send + Sync + 'static,
) -> Result<Arc<Identity>, SignInError> {
    let (web, clock) = (FakeWeb::new(script), clock());
    let provider =
        Introspection::new(&settings(), Vec::new(), web, Arc::clone(&clock) as _).unwrap();
    sign_in(&door(provider, &clock), "token").await
}

#[tokio::test]
async fn the_call_is_rfc_7662_and_the_user_issuer_and_subject() {
    let web = FakeWeb::new(|_| answer(200, &active(json!({"unheard_of": {"a": [1]}}))));
    let clock = clock();
    let provider = Introspection::new(
        &settings(),
        Vec::new(),
        Arc::clone(&web) as _,
        Arc::clone(&clock) as _,
    )
    .unwrap();
    let ann = sign_in(&door(provider, &clock), "to+ken/=").await.unwrap();
    assert_eq!(&*ann.user_id, "https://idp.example#s1");
    assert_eq!(
        (ann.domain.as_deref(), &*ann.auth_service),
        (Some("lab.org"), "introspection")
    );
    let calls = web.calls();
    assert_eq!(
        calls[0].form.as_ref().unwrap().expose(),
        "token=to%2Bken%2F%3D&token_type_hint=access_token"
    );
    // RFC 6749 section 2.3.1: base64 of `gate+way:s%2Bcret`.
    assert_eq!(
        calls[0].authorization.as_ref().unwrap().expose(),
        "Basic Z2F0ZSt3YXk6cyUyQmNyZXQ="
    );
}

/// R21: whatever is not exactly valid is refused.
#[tokio::test]
async fn lying_answers_are_refusals() {
    for (more, refusal) in [
        (json!({"active": false}), SignInError::InvalidKey),
        (json!({"active": "true"}), SignInError::InvalidKey),
        (json!({"active": 1}), SignInError::InvalidKey),
        (json!({"active": null}), SignInError::InvalidKey),
        (json!({"exp": null}), SignInError::InvalidKey),
        (json!({"exp": "1900000000"}), SignInError::InvalidKey),
        (json!({"exp": NOW}), SignInError::Expired),
        (json!({"exp": -5}), SignInError::Expired),
        (json!({"nbf": NOW + 3_600}), SignInError::InvalidKey),
        (json!({"aud": "other"}), SignInError::InvalidKey),
        (json!({"aud": null}), SignInError::InvalidKey),
        (
            json!({"scope": "inferences openid"}),
            SignInError::InvalidKey,
        ),
        (json!({"scope": null}), SignInError::InvalidKey),
        (json!({"sub": null}), SignInError::InvalidKey),
        (json!({"iss": 7}), SignInError::InvalidKey),
        (
            json!({"username": "ann@lab.org@evil.org"}),
            SignInError::InvalidKey,
        ),
        (json!({"cnf": {"x5t#S256": "a"}}), SignInError::InvalidKey),
    ] {
        let said = active(more.clone());
        assert_eq!(
            outcome(move |_| answer(200, &said)).await,
            Err(refusal),
            "{more}"
        );
    }
    let plain = active(json!({"username": "ann"}));
    assert_eq!(
        outcome(move |_| answer(200, &plain)).await.unwrap().domain,
        None
    );
    let endless = active(json!({"exp": 9_223_372_036_854_775_808_u64}));
    assert!(outcome(move |_| answer(200, &endless)).await.is_ok());
}

/// R73: a provider that does not answer properly is out, and nobody is refused for it.
#[tokio::test]
async fn broken_answers_are_outages() {
    let raw = |kind: &str, body: &[u8]| WebAnswer {
        status: StatusCode::OK,
        content_type: Some(kind.to_owned()),
        body: body.to_vec().into(),
    };
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let said = active(json!({})).to_string();
    let outages = [
        Ok(raw("text/html", b"<html>sign in</html>")),
        Ok(raw("text/html", said.as_bytes())),
        Ok(raw("application/json", b"")),
        Ok(raw("application/json", deep.as_bytes())),
        answer(302, &json!({})),
        answer(401, &json!({"error": "invalid_client"})),
        answer(403, &json!({})),
        answer(404, &json!({})),
        answer(429, &json!({})),
        answer(500, &json!({})),
        answer(503, &json!({})),
        Err(WebFault::Timeout),
        Err(WebFault::TooLarge(1)),
        Err(WebFault::Broken("reset".to_owned())),
    ];
    for said in outages {
        let shown = format!("{said:?}");
        let answered = outcome(move |_| said.clone()).await;
        assert_eq!(answered, Err(SignInError::IdentityUnavailable), "{shown}");
    }
    // A server that cannot read the token has answered.
    let refused = outcome(|_| answer(400, &json!({"error": "invalid_request"}))).await;
    assert_eq!(refused, Err(SignInError::InvalidKey));
}

/// R18: what cannot be a token goes nowhere.
#[tokio::test]
async fn no_provider_sees_what_is_no_token() {
    let (web, clock) = (FakeWeb::new(|_| answer(200, &active(json!({})))), clock());
    let provider = Introspection::new(
        &settings(),
        Vec::new(),
        Arc::clone(&web) as _,
        Arc::clone(&clock) as _,
    )
    .unwrap();
    let door = door(provider, &clock);
    for token in [
        "'OR'1'='1",
        "%27",
        "a;b",
        "{{7*7}}",
        "*)(uid=*",
        "=",
        "a=b",
        "\"",
        "$(id)",
        "%n%n",
    ] {
        assert_eq!(
            sign_in(&door, token).await,
            Err(SignInError::InvalidKey),
            "{token}"
        );
    }
    assert_eq!(web.count(), 0);
}
