use std::sync::Arc;

use ostia_core::{Claim, Identity, Measure, Scope, Subject};

use crate::catalog::Deployment;
use crate::settings::Limits;

/// One kind of limit.
struct Rule {
    scope: Scope,
    measure: Measure,
    /// 0 means no limit.
    most: fn(&Limits, &Deployment) -> u64,
}

/// Every limit, in the order in which callers are told of them.
static RULES: [Rule; 4] = [
    Rule {
        scope: Scope::User,
        measure: Measure::Requests,
        most: |limits, _| limits.requests_per_second_per_user.into(),
    },
    Rule {
        scope: Scope::User,
        measure: Measure::InFlight,
        most: |limits, _| limits.max_in_flight_per_user.into(),
    },
    Rule {
        scope: Scope::UserEndpoint,
        measure: Measure::Tokens,
        most: |_, deployment| deployment.tpm_user,
    },
    Rule {
        scope: Scope::Endpoint,
        measure: Measure::Tokens,
        most: |_, deployment| deployment.tpm_model,
    },
];

/// The limits that apply to a caller on an endpoint and that `is_wanted` selects.
pub(super) fn claims(
    limits: &Limits,
    who: &Identity,
    deployment: &Deployment,
    is_wanted: impl Fn(Scope) -> bool,
) -> Vec<Claim> {
    let rules = RULES.iter().filter(|rule| is_wanted(rule.scope));
    rules
        .filter_map(|rule| {
            let most = (rule.most)(limits, deployment);
            let subject = subject(rule.scope, who, deployment)?;
            (most != 0).then_some(Claim {
                scope: rule.scope,
                measure: rule.measure,
                subject,
                most,
            })
        })
        .collect()
}

/// Whose counter it is; `None` if the caller has no such counter.
fn subject(scope: Scope, who: &Identity, deployment: &Deployment) -> Option<Subject> {
    let user = || Arc::clone(&who.user_id);
    let slug = || Arc::clone(&deployment.slug);
    Some(match scope {
        Scope::User => Subject::One(user()),
        Scope::UserEndpoint => Subject::Pair(user(), slug()),
        Scope::Endpoint => Subject::One(slug()),
        Scope::Key => Subject::One(who.key_id.clone()?),
        // The table has no such limit yet.
        Scope::Group | Scope::Project => return None,
    })
}
