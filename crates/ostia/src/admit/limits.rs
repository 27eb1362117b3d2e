//! Limits as data.
//!
//! To add a limit:
//!
//! 1. Add its rule to [`RULES`].
//! 2. If keys, users, projects and groups may have it of their own, add it to `OwnLimit` in `settings/limits.rs`, and
//!    regenerate docs/reference/config.md: `OSTIA_BLESS=1 cargo test -p ostia-cli reference`.
//! 3. If nothing counts for such a subject yet, add a [`Scope`] (`ostia-core/src/limiter.rs`), and say below whose
//!    counter it is and how a caller is told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ostia_core::{Claim, Identity, KeyRights, Measure, Scope, Subject};

use crate::catalog::Deployment;
use crate::settings::{Limits, OwnLimit, OwnLimits};

/// Concurrent requests of a key that acts on behalf of others.
const MANY_IN_FLIGHT: u64 = 256;

/// One kind of limit.
struct Rule {
    scope: Scope,
    measure: Measure,
    /// Its key in the settings or in a fixture.
    key: &'static str,
    counts: &'static str,
    /// 0 means off.
    most: fn(&Limits, &OwnLimits, &Deployment) -> u64,
}

/// Every limit, in the order in which callers are told of them.
static RULES: [Rule; 6] = [
    Rule {
        scope: Scope::User,
        measure: Measure::Requests,
        key: OwnLimit::RequestsPerSecond.key().name,
        counts: "requests a second for the user",
        most: |limits, own, _| own_or_usual(limits, own, OwnLimit::RequestsPerSecond),
    },
    Rule {
        scope: Scope::User,
        measure: Measure::InFlight,
        key: OwnLimit::InFlight.key().name,
        counts: "requests at once for the user",
        most: |limits, own, _| own_or_usual(limits, own, OwnLimit::InFlight),
    },
    Rule {
        scope: Scope::UserModel,
        measure: Measure::InFlight,
        key: OwnLimit::InFlightPerModel.key().name,
        counts: "requests at once for the user on this model",
        most: |limits, own, _| own_or_usual(limits, own, OwnLimit::InFlightPerModel),
    },
    Rule {
        scope: Scope::UserEndpoint,
        measure: Measure::InFlight,
        key: "in_flight_per_user",
        counts: "requests at once for the user here",
        most: |_, _, deployment| deployment.in_flight_per_user.into(),
    },
    Rule {
        scope: Scope::UserEndpoint,
        measure: Measure::Tokens,
        key: OwnLimit::TokensPerMinute.key().name,
        counts: "tokens a minute for the user here",
        most: |_, own, deployment| {
            let own = own.of(OwnLimit::TokensPerMinute);
            own.unwrap_or(deployment.tpm_user)
        },
    },
    Rule {
        scope: Scope::Endpoint,
        measure: Measure::Tokens,
        key: "tpm_model",
        counts: "tokens a minute for all users here",
        most: |_, _, deployment| deployment.tpm_model,
    },
];

fn own_or_usual(limits: &Limits, own: &OwnLimits, limit: OwnLimit) -> u64 {
    own.of(limit).unwrap_or(limits.of(limit))
}

/// A limit and what it is for one caller on one endpoint; 0 means off.
#[derive(Debug, Clone, Copy)]
pub struct Applied {
    /// Its key in the settings or in a fixture.
    pub key: &'static str,
    pub most: u64,
    /// What it counts, for people.
    pub counts: &'static str,
}

/// Every limit that a request of this caller has to fit under on this endpoint.
pub fn applied(limits: &Limits, who: &Identity, deployment: &Deployment) -> Vec<Applied> {
    let own = own_limits(limits, who);
    let rules = RULES.iter().map(|rule| Applied {
        key: rule.key,
        most: (rule.most)(limits, &own, deployment),
        counts: rule.counts,
    });
    let places = Applied {
        key: "max_in_flight",
        most: deployment.places().into(),
        counts: "requests at once on the endpoint",
    };
    rules.chain([places]).collect()
}

/// The settings for this caller: each limit comes from the first of key, user, project and groups that sets it.
pub fn own_limits(limits: &Limits, who: &Identity) -> OwnLimits {
    let others = &limits.others;
    let find = |all: &BTreeMap<String, OwnLimits>, name: &str| all.get(name).copied();
    let key = who.key_id.as_ref().and_then(|key| find(&others.key, key));
    let given = who.rights.as_ref().map(|rights| given(rights));
    let user = find(&others.user, &who.user_id).or_else(|| find(&others.user, &who.own_name));
    // A name that its bearer chose gives nothing, but may take away.
    let chosen = find(&others.user, &who.username).map(|named| OwnLimits {
        blocked: named.blocked,
        ..OwnLimits::default()
    });
    let project = find(&others.project, &who.project);
    let groups = who
        .groups
        .iter()
        .filter_map(|group| find(&others.group, group));
    let many = who
        .rights
        .as_ref()
        .and_then(|rights| for_many(limits, rights));
    let levels = [
        key,
        given,
        user,
        chosen,
        project,
        groups.reduce(larger),
        many,
    ];
    let known = levels.into_iter().flatten();
    known.fold(OwnLimits::default(), or_else)
}

/// The limits of `[limits.key."ID"]` that a key was given.
fn given(rights: &KeyRights) -> OwnLimits {
    OwnLimits {
        numbers: OwnLimit::ALL.map(|limit| {
            let key = limit.key();
            let most = rights.limits.get(key.name).copied();
            most.map(|most| most.min(key.most))
        }),
        ..OwnLimits::default()
    }
}

/// What holds for the key of a front end where nothing else is said: many users are behind it.
fn for_many(limits: &Limits, rights: &KeyRights) -> Option<OwnLimits> {
    let all = limits.of(OwnLimit::InFlight);
    let is_more = !rights.on_behalf_of.is_empty() && (1..MANY_IN_FLIGHT).contains(&all);
    is_more.then(|| OwnLimits::only(OwnLimit::InFlight, MANY_IN_FLIGHT))
}

/// Of several groups the largest limit holds; 0 is none, and the largest.
fn larger(one: OwnLimits, other: OwnLimits) -> OwnLimits {
    let most = |limit| match (one.of(limit), other.of(limit)) {
        (Some(0), _) | (_, Some(0)) => Some(0),
        (one, other) => one.max(other),
    };
    OwnLimits {
        numbers: OwnLimit::ALL.map(most),
        // Unlike a limit of 0, a wait of 0 is the smallest.
        queue_timeout: one.queue_timeout.max(other.queue_timeout),
        fair_share: one.fair_share.max(other.fair_share),
        blocked: one.blocked || other.blocked,
        allow_external: one.allow_external || other.allow_external,
    }
}

/// `then` may set what `first` leaves open. A caller blocked by one of them is blocked, and what one of them allows is
/// allowed.
fn or_else(first: OwnLimits, then: OwnLimits) -> OwnLimits {
    OwnLimits {
        numbers: OwnLimit::ALL.map(|limit| first.of(limit).or(then.of(limit))),
        queue_timeout: first.queue_timeout.or(then.queue_timeout),
        fair_share: first.fair_share.or(then.fair_share),
        blocked: first.blocked || then.blocked,
        allow_external: first.allow_external || then.allow_external,
    }
}

/// The limits that hold for a caller on an endpoint; those `is_wanted`.
pub(super) fn claims(
    limits: &Limits,
    own: &OwnLimits,
    who: &Identity,
    deployment: &Deployment,
    is_wanted: impl Fn(Scope) -> bool,
) -> Vec<Claim> {
    let rules = RULES.iter().filter(|rule| is_wanted(rule.scope));
    rules
        .filter_map(|rule| {
            let most = (rule.most)(limits, own, deployment);
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

/// The endpoint's places, where they are counted over several replicas. Within one process they are
/// [`crate::fleet::EndpointState::take_place`].
pub(super) fn places(deployment: &Deployment) -> Option<Claim> {
    let most = deployment.places().into();
    (most != 0).then(|| Claim {
        scope: Scope::Endpoint,
        measure: Measure::InFlight,
        subject: Subject::One(Arc::clone(&deployment.slug)),
        most,
    })
}

/// The owner of the counter; `None` if the caller has none of this kind.
fn subject(scope: Scope, who: &Identity, deployment: &Deployment) -> Option<Subject> {
    let user = || Arc::clone(&who.user_id);
    let slug = || Arc::clone(&deployment.slug);
    Some(match scope {
        Scope::User => Subject::One(user()),
        Scope::UserModel => Subject::Pair(user(), Arc::clone(&deployment.model)),
        Scope::UserEndpoint => Subject::Pair(user(), slug()),
        Scope::Endpoint => Subject::One(slug()),
        Scope::Key => Subject::One(who.key_id.clone()?),
        // No limit of these is in the table yet.
        Scope::Group | Scope::Project | Scope::Address => return None,
    })
}

/// Whose limit it is, for the message to a caller who has reached it.
pub const fn whose(scope: Scope) -> &'static str {
    match scope {
        Scope::User => "you",
        Scope::UserModel | Scope::UserEndpoint => "you on this model",
        Scope::Endpoint => "all users of this model together",
        Scope::Group => "your group",
        Scope::Project => "your project",
        Scope::Key => "this API key",
        Scope::Address => "this address",
    }
}

/// Settings without any limit.
#[cfg(test)]
pub(super) fn limits_off() -> Limits {
    Limits {
        everybody: Default::default(),
        tpm_model: 0,
        default_output_tokens: 1_024,
        reserve_output: crate::settings::ReserveOutput::Estimate,
        queue_timeout: Default::default(),
        shared: None,
        others: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(in_flight: Option<u64>, tpm: Option<u64>) -> OwnLimits {
        let numbers = OwnLimit::ALL.map(|limit| match limit {
            OwnLimit::InFlight => in_flight,
            OwnLimit::TokensPerMinute => tpm,
            _ => None,
        });
        OwnLimits {
            numbers,
            ..OwnLimits::default()
        }
    }

    /// For everybody.
    fn set_in_flight(settings: &mut Limits, most: u64) {
        settings.everybody[OwnLimit::InFlight as usize] = most;
    }

    fn in_flight_of(settings: &Limits, key: KeyRights) -> Option<u64> {
        let who = Identity {
            user_id: "portal".into(),
            rights: Some(Arc::new(key)),
            ..Identity::default()
        };
        own_limits(settings, &who).of(OwnLimit::InFlight)
    }

    #[test]
    fn the_key_of_a_front_end_has_more_at_a_time_where_nothing_else_is_said() {
        let mut settings = limits_off();
        set_in_flight(&mut settings, 32);
        let front_end = || KeyRights {
            on_behalf_of: vec!["lab.org".to_owned()],
            ..KeyRights::default()
        };
        assert_eq!(in_flight_of(&settings, KeyRights::default()), None);
        assert_eq!(in_flight_of(&settings, front_end()), Some(256));
        let of_the_key = KeyRights {
            limits: [("max_in_flight_per_user".to_owned(), 7)].into(),
            ..front_end()
        };
        assert_eq!(in_flight_of(&settings, of_the_key), Some(7));
        for all in [0, 1_000] {
            set_in_flight(&mut settings, all);
            assert_eq!(in_flight_of(&settings, front_end()), None, "{all} holds");
        }
        set_in_flight(&mut settings, 32);
        settings.others.user = [("portal".to_owned(), own(Some(9), None))].into();
        assert_eq!(in_flight_of(&settings, front_end()), Some(9));
    }

    #[test]
    fn a_username_that_its_bearer_chose_opens_nothing() {
        let generous = OwnLimits {
            allow_external: true,
            ..own(Some(99), Some(99))
        };
        let settings = Limits {
            others: crate::settings::OtherLimits {
                user: [("ann@lab.org".to_owned(), generous)].into(),
                ..Default::default()
            },
            ..limits_off()
        };
        let who = |username: &str, own_name: &str| Identity {
            user_id: "https://idp#7".into(),
            username: username.into(),
            own_name: own_name.into(),
            ..Identity::default()
        };
        let chosen = who("ann@lab.org", "mallory@lab.org");
        assert_eq!(own_limits(&settings, &chosen), OwnLimits::default());
        let verified = who("annie", "ann@lab.org");
        assert_eq!(own_limits(&settings, &verified), generous);
        let mut settings = settings;
        settings.others.user.insert(
            "mallory".to_owned(),
            OwnLimits {
                blocked: true,
                ..OwnLimits::default()
            },
        );
        assert!(own_limits(&settings, &who("mallory", "")).blocked);
    }

    #[test]
    fn the_first_that_sets_a_limit_holds_and_of_several_groups_the_largest() {
        let first = or_else(own(Some(3), None), own(Some(9), Some(7)));
        assert_eq!(first, own(Some(3), Some(7)));
        assert_eq!(
            larger(own(Some(3), None), own(Some(9), Some(7))),
            own(Some(9), Some(7))
        );
        assert_eq!(
            larger(own(Some(3), None), own(Some(0), None)),
            own(Some(0), None)
        );
        let blocked = OwnLimits {
            blocked: true,
            ..OwnLimits::default()
        };
        assert!(or_else(own(Some(3), None), blocked).blocked);
    }
}
