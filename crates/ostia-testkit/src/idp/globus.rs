use serde_json::{Map, Value, json};

/// Globus's data on a token's holder.
#[derive(Debug, Clone)]
pub struct GlobusUser {
    /// All linked identities: id, username. The first is the primary one.
    identities: Vec<(String, String)>,
    /// Those that signed in, in the session's order.
    session: Vec<String>,
    groups: Vec<String>,
    unmet_policies: Vec<String>,
    /// A program's own id; it has no session.
    service: Option<String>,
    expires_in: i64,
}

impl GlobusUser {
    /// One identity, which signed in.
    pub fn new(id: &str, username: &str) -> Self {
        Self {
            identities: vec![(id.to_owned(), username.to_owned())],
            session: vec![id.to_owned()],
            groups: Vec::new(),
            unmet_policies: Vec::new(),
            service: None,
            expires_in: 3_600,
        }
    }

    /// A program with credentials of its own.
    pub fn service(id: &str) -> Self {
        let mut user = Self::new(id, &format!("{id}@clients.auth.globus.org"));
        user.session.clear();
        user.service = Some(id.to_owned());
        user
    }

    /// Links an identity that did not sign in.
    #[must_use]
    pub fn linked(mut self, id: &str, username: &str) -> Self {
        self.identities.push((id.to_owned(), username.to_owned()));
        self
    }

    /// The sign-ins, first to last.
    #[must_use]
    pub fn session(mut self, ids: &[&str]) -> Self {
        self.session = ids.iter().map(|id| (*id).to_owned()).collect();
        self
    }

    #[must_use]
    pub fn groups(mut self, ids: &[&str]) -> Self {
        self.groups = ids.iter().map(|id| (*id).to_owned()).collect();
        self
    }

    /// A policy that this session does not meet.
    #[must_use]
    pub fn fails(mut self, policy: &str) -> Self {
        self.unmet_policies.push(policy.to_owned());
        self
    }

    /// Seconds; negative: expired, and yet called active.
    #[must_use]
    pub fn expires_in(mut self, seconds: i64) -> Self {
        self.expires_in = seconds;
        self
    }

    /// The introspection answer, including the optional parts that were requested.
    pub(super) fn introspection(
        &self,
        now: i64,
        client: &str,
        include: &str,
        policies: &str,
    ) -> Value {
        let (id, username) = &self.identities[0];
        let mut said = json!({
            "active": true, "token_type": "Bearer", "scope": "https://auth.globus.org/scopes/example/action_all",
            "client_id": self.service.as_deref().unwrap_or("8b84fc2d-49e9-49ea-b54d-b3a29a70cf31"),
            "sub": id, "username": username, "name": name_of(username), "email": username,
            "exp": now + self.expires_in, "iat": now - 60, "nbf": now - 60,
            "aud": [client], "iss": "https://auth.globus.org",
            "dependent_tokens_cache_id": "af2d5979090a97536619e8fbad1ebd0afa875c880a0d8058cddf510fc288555c",
        });
        let asked = |what: &str| include.split(',').any(|one| one == what);
        if asked("identity_set_detail") {
            let details: Vec<Value> = self
                .identities
                .iter()
                .map(|(id, name)| detail(id, name))
                .collect();
            said["identity_set_detail"] = json!(details);
        }
        if asked("session_info") {
            let signed_in: Map<String, Value> = self
                .session
                .iter()
                .map(|id| {
                    let entry = json!({"idp": format!("idp-of-{id}"), "auth_time": now - 120, "acr": null, "amr": null, "custom_claims": {}});
                    (id.clone(), entry)
                })
                .collect();
            said["session_info"] = json!({"session_id": "b7a0d8c3-0000-4000-8000-000000000000", "authentications": signed_in});
        }
        let asked = policies.split(',').filter(|policy| !policy.is_empty());
        let evaluations: Map<String, Value> = asked
            .map(|policy| {
                let met = !self.unmet_policies.iter().any(|unmet| unmet == policy);
                (policy.to_owned(), json!({ "evaluation": met }))
            })
            .collect();
        said["policy_evaluations"] = json!(evaluations);
        said
    }

    pub(super) fn my_groups(&self) -> Value {
        let (identity, username) = &self.identities[0];
        let groups = self.groups.iter().map(|id| {
            json!({
                "id": id, "name": format!("Group {id}"), "parent_id": null, "group_type": "regular",
                "enforce_session": false, "session_limit": 28_800, "session_timeouts": {},
                "my_memberships": [{"group_id": id, "identity_id": identity, "username": username, "role": "member", "status": "active"}],
                "policies": {"group_visibility": "private", "group_members_visibility": "managers"},
            })
        });
        Value::Array(groups.collect())
    }
}

/// With `sub`, as the service answers, and `id`, as its documents say.
fn detail(id: &str, username: &str) -> Value {
    let domain = username.split_once('@').map_or("", |(_, domain)| domain);
    json!({
        "sub": id, "id": id, "username": username, "name": name_of(username), "email": username, "organization": domain,
        "identity_provider": format!("idp-of-{id}"), "identity_provider_display_name": format!("Provider {domain}"),
        "status": "used",
    })
}

fn name_of(username: &str) -> String {
    format!("Name of {username}")
}
