//! Tokens as providers shape them, by the providers' own documentation.

use ostia_testkit::idp::Signing;

use super::*;

const MEDIUM: &str = "https://refeds.org/assurance/IAP/medium";

/// One `[[auth.oidc]]` that speaks for `lab.org`.
fn issuer(idp: &FakeIdp, more: &str) -> String {
    format!(
        "[[auth.oidc]]\nissuer = \"{}\"\naudience = [\"{AUDIENCE}\"]\ndomains = [\"lab.org\"]\n{more}\n",
        idp.base_url()
    )
}

fn token(idp: &FakeIdp, own: &Value) -> String {
    let mut claims = json!({
        "iss": idp.base_url(), "aud": AUDIENCE, "iat": now(), "nbf": now(), "exp": now() + 300,
    });
    let own = own.as_object().unwrap().clone();
    claims.as_object_mut().unwrap().extend(own);
    idp.minter().mint(Signing::Rs256, &claims)
}

/// The subject is a URL, affiliations are one text, and nothing says that an address was verified.
fn of_cilogon() -> Value {
    json!({
        "sub": "http://cilogon.org/serverA/users/242", "eppn": "ann@lab.org", "email": "a@lab.org",
        "idp": "https://idp.lab.org/shibboleth", "idp_name": "Lab", "eptid": "https://idp.lab.org!https://cilogon.org!x=",
        "affiliation": "employee@lab.org;member@lab.org;staff@lab.org", "given_name": "Ann", "family_name": "A",
        "acr": "https://refeds.org/profile/mfa", "isMemberOf": ["CO:members:all"],
        "token_id": "https://cilogon.org/oauth2/idToken/1",
    })
}

/// The subject has the provider's own scope, and is the same everywhere; attributes of the home organisation come beside
/// it, as lists where there may be several.
fn of_my_access_id(assurance: &Value) -> Value {
    json!({
        "sub": "28c5353b8bb34984a8bd4169ba94c606@MyAccessID.org", "email": "ann@lab.org", "acr": "1",
        "schac_home_organization": "lab.org", "voperson_external_affiliation": ["member@lab.org"],
        "voperson_external_id": ["ann@lab.org"], "eduperson_assurance": assurance,
        "eduperson_entitlement": ["urn:geant:lab.org:group:hpc#aai.lab.org"],
    })
}

fn of_keycloak() -> Value {
    json!({
        "sub": "36fa0f91-f94d-4a0c-afed-6b7d952e47da", "typ": "Bearer", "azp": "cli", "aud": [AUDIENCE, "account"],
        "sid": "2a88c258-f73a-4103-b862-e1fbd8f4e04e", "acr": "1", "allowed-origins": ["/*"],
        "preferred_username": "ann", "email": "ann@lab.org", "email_verified": true, "name": "Ann A",
        "realm_access": {"roles": ["default-roles-lab", "offline_access", "llm"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}}, "scope": "email profile",
    })
}

/// A token of version 2.0: `upn` is there only where the application's registration asks for it.
fn of_entra() -> Value {
    json!({
        "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "tid": "aaaabbbb-0000-cccc-1111-dddd2222eeee", "ver": "2.0", "azp": "client", "azpacr": "0", "scp": "use",
        "uti": "x", "rh": "y", "preferred_username": "ann@lab.org", "name": "Ann A", "roles": ["Use"],
        "_claim_names": {"groups": "src1"},
        "_claim_sources": {"src1": {"endpoint": "https://graph.example.org/getMemberObjects"}},
    })
}

fn with(mut claims: Value, name: &str, value: &str) -> Value {
    claims[name] = value.into();
    claims
}

/// What names the user, the groups and the link differs, and the person is one.
#[tokio::test]
async fn tokens_of_each_kind_of_provider_are_understood() {
    let idps = [
        FakeIdp::start().await,
        FakeIdp::start().await,
        FakeIdp::start().await,
        FakeIdp::start().await,
    ];
    let [cilogon, access, keycloak, entra] = &idps;
    let backend = FakeBackend::start().await;
    let settings = [
        "[auth]\nproviders = [\"api_key\", \"oidc\"]\nadmit = [\"domain:lab.org\"]\n".to_owned(),
        issuer(cilogon, "link_claim = \"eppn\"\nclaims = { user = \"eppn\", groups = \"isMemberOf\" }"),
        issuer(
            access,
            &format!(
                "link_claim = \"voperson_external_id\"\nrequired_acr = [\"{MEDIUM}\"]\n\
                 claims = {{ user = \"sub\", domain = \"schac_home_organization\", groups = \"eduperson_entitlement\" }}"
            ),
        ),
        issuer(keycloak, "link_claim = \"email\"\nclaims = { groups = \"realm_access.roles\" }"),
        issuer(entra, "link_claim = \"upn\"\nclaims = { user = \"upn\", id = \"oid\" }"),
    ]
    .concat();
    let site = Site::new().model("m", &backend).settings(&settings);
    let gateway = TestGateway::start(site).await;
    let assured = json!(["https://refeds.org/assurance", MEDIUM]);
    let weak = json!(["https://refeds.org/assurance/IAP/low"]);
    let ways = [
        (
            token(cilogon, &of_cilogon()),
            "ann@lab.org",
            json!(["CO:members:all"]),
        ),
        (
            token(access, &of_my_access_id(&assured)),
            "28c5353b8bb34984a8bd4169ba94c606@MyAccessID.org",
            json!(["urn:geant:lab.org:group:hpc#aai.lab.org"]),
        ),
        (
            token(keycloak, &of_keycloak()),
            "ann",
            json!(["default-roles-lab", "offline_access", "llm"]),
        ),
        (
            token(entra, &with(of_entra(), "upn", "ann@lab.org")),
            "ann@lab.org",
            json!([]),
        ),
    ];
    for (token, username, groups) in &ways {
        let answer = gateway.call(&whoami(token)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let me = answer.json();
        assert_eq!(
            (&me["id"], &me["username"]),
            (&json!("ann@lab.org"), &json!(username)),
            "{me}"
        );
        assert_eq!(&me["user_group_uuids"], groups, "{me}");
    }
    let invalid = (401, "invalid_api_key".to_owned());
    for (token, refused) in [
        (
            token(access, &of_my_access_id(&weak)),
            (401, "reauthentication_required".to_owned()),
        ),
        // The claim that the site named is not in the token, and nothing that people choose stands in for it.
        (token(entra, &of_entra()), invalid.clone()),
        (token(cilogon, &with(of_cilogon(), "eppn", "")), invalid),
        // Whether an address was verified is true or false, not a text.
        (
            token(keycloak, &with(of_keycloak(), "email_verified", "true")),
            (403, "policy_denied".to_owned()),
        ),
    ] {
        assert_eq!(refusal(&gateway.call(&whoami(&token)).await), refused);
    }
    // Nothing is fetched from where a token points to.
    assert_eq!(entra.calls().len(), entra.calls_to("/jwks") + 1);
    gateway.finish(&[&backend]).await;
}
