"""Signs in at the fake identity provider with the real Globus client, and compares the calls with those Ostia makes.

Called by check.sh with the path of the fake provider's program. Fails with what differs.
"""

import base64
import json
import subprocess
import sys

import globus_sdk

GROUPS = "groups.api.globus.org"
# What Ostia sends; its own tests check the same texts (crates/ostia/src/identify/globus/tests.rs).
OSTIA = [
    ("POST", "/v2/oauth2/token/introspect", ["token", "authentication_policies", "include"]),
    ("POST", "/v2/oauth2/token", ["grant_type", "token"]),
    ("GET", "/v2/groups/my_groups", []),
]
MET = "33333333-0000-4000-8000-000000000001"
UNMET = "33333333-0000-4000-8000-000000000002"
LAB = "11111111-0000-4000-8000-000000000002"


def sign_in(about):
    """Introspection with policies, a dependent token, the user's groups, as a resource server does it."""
    client = globus_sdk.ConfidentialAppAuthClient(
        about["client_id"], about["client_secret"], base_url=about["base_url"]
    )
    body = {
        "token": about["token"],
        "authentication_policies": f"{MET},{UNMET}",
        "include": "session_info,identity_set_detail",
    }
    said = client.post("/v2/oauth2/token/introspect", data=body, encoding="form")
    tokens = client.oauth2_get_dependent_tokens(about["token"])
    access = tokens.by_resource_server[GROUPS]["access_token"]
    groups = globus_sdk.GroupsClient(
        authorizer=globus_sdk.AccessTokenAuthorizer(access), base_url=about["base_url"]
    )
    return client, said, list(groups.get_my_groups())


def check_answers(said, groups):
    assert said["active"] is True and isinstance(said["exp"], int), said.data
    assert list(said["session_info"]["authentications"]) == [LAB], said.data
    detail = [one for one in said["identity_set_detail"] if one["sub"] == LAB]
    assert detail[0]["id"] == LAB and detail[0]["username"] == "ann@lab.org", detail
    assert detail[0]["identity_provider_display_name"], detail
    evaluations = {name: one["evaluation"] for name, one in said["policy_evaluations"].items()}
    assert evaluations == {MET: True, UNMET: False}, evaluations
    assert [group["id"] for group in groups] == ["22222222-0000-4000-8000-000000000001"], groups
    assert groups[0]["my_memberships"][0]["status"] == "active", groups


def check_refusals(about, client):
    assert client.oauth2_token_introspect("Agnobody").data == {"active": False}
    stranger = globus_sdk.ConfidentialAppAuthClient(
        about["client_id"], "wrong", base_url=about["base_url"]
    )
    try:
        stranger.oauth2_token_introspect(about["token"])
    except globus_sdk.AuthAPIError as error:
        assert (error.http_status, error.code) == (401, "UNAUTHORIZED"), error
    else:
        raise AssertionError("a wrong secret was taken")


def check_calls(about, seen):
    basic = base64.b64encode(f"{about['client_id']}:{about['client_secret']}".encode()).decode()
    made = [(call["method"], call["path"], [name for name, _ in call["form"]]) for call in seen[:3]]
    assert made == OSTIA, made
    assert all(call["query"] is None for call in seen[:3]), seen
    assert seen[0]["authorization"] == seen[1]["authorization"] == f"Basic {basic}", seen
    assert seen[1]["form"][0][1] == "urn:globus:auth:grant_type:dependent_token", seen
    assert seen[2]["authorization"].startswith("Bearer "), seen


def main():
    program = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    about = json.loads(program.stdout.readline())
    client, said, groups = sign_in(about)
    check_answers(said, groups)
    check_refusals(about, client)
    rest, _ = program.communicate(timeout=30)
    check_calls(about, [json.loads(line) for line in rest.splitlines()])
    print(f"globus-sdk {globus_sdk.__version__} accepts the fake provider and makes the calls that Ostia makes")


if __name__ == "__main__":
    main()
