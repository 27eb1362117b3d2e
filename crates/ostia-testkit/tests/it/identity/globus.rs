use ostia_testkit::idp::GlobusUser;
use serde_json::json;

use super::*;

const RULES: &str = r#"
    policies = ["policy-1", "policy-2"]
    idp_domains = ["lab.org", "uni.edu"]
    required_groups = ["all-users"]
    groups_per_domain = { "uni.edu" = ["guests"] }
    service_usernames = ["robot@clients.auth.globus.org"]
"#;

fn ann() -> GlobusUser {
    GlobusUser::new("id-primary", "ann@gmail.com")
        .linked("id-lab", "ann@lab.org")
        .session(&["id-primary", "id-lab"])
        .groups(&["all-users", "extra"])
}

#[tokio::test]
async fn a_globus_user_is_the_authorised_sign_in_of_the_session() {
    let (idp, backend, gateway) = globus_rig(RULES).await;
    idp.globus("Agann", ann());
    let answer = gateway.call(&whoami("Agann")).await;
    let expected = json!({
        "id": "id-lab", "name": "Name of ann@lab.org", "username": "ann@lab.org",
        "user_group_uuids": ["all-users", "extra"], "idp_id": "idp-of-id-lab", "idp_name": "Provider lab.org",
        "auth_service": "globus",
    });
    assert_eq!(answer.json(), expected);
    let chat = gateway.chat("m").without("authorization").bearer("Agann");
    assert_eq!(gateway.call(&chat).await.status(), 200);
    let paths: Vec<_> = idp.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(
        paths,
        [
            "/v2/oauth2/token/introspect",
            "/v2/oauth2/token",
            "/v2/groups/my_groups"
        ]
    );
    let calls = idp.calls();
    assert_eq!(
        calls[0].form.get("authentication_policies"),
        Some("policy-1,policy-2")
    );
    assert_eq!(
        calls[0].form.get("include"),
        Some("session_info,identity_set_detail")
    );

    idp.globus(
        "Agrobot",
        GlobusUser::service("robot").groups(&["all-users"]),
    );
    let robot = gateway.call(&whoami("Agrobot")).await.json();
    assert_eq!(
        (&robot["id"], &robot["username"]),
        (&json!("robot"), &json!("robot@clients.auth.globus.org"))
    );
    assert_eq!(robot["idp_id"], "clients.auth.globus.org");

    let rows = gateway.finish(&[&backend]).await;
    assert_eq!((rows.len(), &*rows[0].username), (1, "ann@lab.org"));
}

/// The order and the answers of the specification: each user lacks one thing more than the previous one.
#[tokio::test]
async fn refusals_come_in_order_and_say_what_is_needed() {
    let (idp, backend, gateway) = globus_rig(RULES).await;
    let guest = || GlobusUser::new("id-guest", "guest@uni.edu");
    let cases = [
        ("Agnobody", None, 401, "invalid_api_key", ""),
        (
            "Agexpired",
            Some(ann().expires_in(-1)),
            401,
            "token_expired",
            "",
        ),
        (
            "Agstale",
            Some(GlobusUser::new("x", "x@gmail.com").fails("policy-2")),
            401,
            "reauthentication_required",
            "ostia login",
        ),
        (
            "Agelsewhere",
            Some(GlobusUser::new("x", "x@gmail.com")),
            403,
            "policy_denied",
            "lab.org, uni.edu",
        ),
        (
            "Aglinked",
            Some(ann().session(&["id-primary"])),
            403,
            "policy_denied",
            "ann@gmail.com",
        ),
        (
            "Agsessionless",
            Some(ann().session(&[])),
            403,
            "policy_denied",
            "lab.org, uni.edu",
        ),
        (
            "Agoutsider",
            Some(guest().groups(&["guests"])),
            403,
            "policy_denied",
            "all-users",
        ),
        (
            "Agguest",
            Some(guest().groups(&["all-users"])),
            403,
            "policy_denied",
            "guests",
        ),
        (
            "Agrobot",
            Some(GlobusUser::service("robot")),
            403,
            "policy_denied",
            "all-users",
        ),
        (
            "Agother",
            Some(GlobusUser::service("other").groups(&["all-users"])),
            403,
            "policy_denied",
            "lab.org",
        ),
    ];
    for (token, user, status, code, says) in cases {
        if let Some(user) = user {
            idp.globus(token, user);
        }
        let answer = gateway.call(&whoami(token)).await;
        assert_eq!(refusal(&answer), (status, code.to_owned()), "{token}");
        assert!(answer.text().contains(says), "{token}: {}", answer.text());
    }
    idp.globus("Agwelcome", guest().groups(&["guests", "all-users"]));
    assert_eq!(gateway.call(&whoami("Agwelcome")).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn the_gateway_s_own_wrong_secret_denies_nobody() {
    let (idp, backend, gateway) = globus_rig_as("another", "").await;
    idp.globus("Agann", ann());
    let answer = gateway.call(&whoami("Agann")).await;
    assert_eq!(refusal(&answer), (503, "identity_unavailable".to_owned()));
    gateway.finish(&[&backend]).await;
}
