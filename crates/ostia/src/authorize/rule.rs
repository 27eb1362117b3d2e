use std::sync::Arc;

use ostia_core::Identity;

use crate::catalog::{Access, Cluster, Deployment};

/// The first part of a rule that the caller does not meet, with the values that would meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken<'a> {
    /// The caller needs at least one of these groups.
    Groups(&'a [Box<str>]),
    /// The username's domain must be one of these.
    Domains(&'a [Box<str>]),
}

/// The one rule: at least one of the groups and one of the domains. A part without a restriction is open to all.
pub fn permits(access: &Access, identity: &Identity) -> bool {
    broken(access, identity).is_none()
}

/// Why [`permits`] says no. For operators, never for callers. If a front end names a user, both must meet the rule.
pub fn broken<'a>(access: &'a Access, identity: &Identity) -> Option<Broken<'a>> {
    let front = identity.front.as_deref();
    front
        .and_then(|front| broken(access, front))
        .or_else(|| broken_by(access, identity))
}

fn broken_by<'a>(access: &'a Access, identity: &Identity) -> Option<Broken<'a>> {
    let in_group = |allowed: &[Box<str>]| {
        let mut held = identity.groups.iter();
        held.any(|group| allowed.iter().any(|wanted| **wanted == **group))
    };
    let of_domain = |allowed: &[Box<str>]| {
        let domain = identity.domain.as_deref();
        domain.is_some_and(|domain| allowed.iter().any(|wanted| **wanted == *domain))
    };
    match (&access.groups, &access.domains) {
        (Some(groups), _) if !in_group(groups) => Some(Broken::Groups(groups)),
        (_, Some(domains)) if !of_domain(domains) => Some(Broken::Domains(domains)),
        _ => None,
    }
}

/// Whether a cluster exists for this caller.
pub fn may_see(cluster: &Cluster, identity: &Identity) -> bool {
    permits(&cluster.access, identity)
}

/// Whether a deployment exists for this caller: the rules of its cluster and its own must both hold.
pub fn may_use(deployment: &Deployment, identity: &Identity) -> bool {
    may_see(&deployment.cluster, identity)
        && permits(&deployment.access, identity)
        && is_listed(deployment, identity)
}

/// A key or a project may be restricted to some models, possibly by an alias.
fn is_listed(deployment: &Deployment, identity: &Identity) -> bool {
    let Some(models) = &identity.models else {
        return true;
    };
    let is = |name: &str| models.iter().any(|model| **model == *name);
    is(&deployment.model) || deployment.aliases.iter().any(|alias| is(alias))
}

/// The group that lets this caller in: the first of the deployment's groups that the caller is in, or of its cluster's
/// if the deployment lists none. `None` if no rule asks for a group.
pub fn entry_group<'a>(deployment: &Deployment, identity: &'a Identity) -> Option<&'a Arc<str>> {
    let own = deployment.access.groups.as_deref();
    let allowed = own.or(deployment.cluster.access.groups.as_deref())?;
    allowed.iter().find_map(|wanted| {
        let mut held = identity.groups.iter();
        held.find(|group| ***group == **wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::permits;
    use crate::catalog::Access;
    use ostia_core::Identity;

    fn list(names: &[&str]) -> Option<Box<[Box<str>]>> {
        Some(names.iter().map(|name| Box::from(*name)).collect())
    }

    #[test]
    fn groups_and_domains_must_both_hold() {
        let who = Identity {
            domain: Some("lab.org".into()),
            groups: ["g1".into(), "g2".into()].into(),
            ..Identity::default()
        };
        let nobody = Identity::default();
        let cases = [
            (None, None, true, true),
            (list(&["g2", "g9"]), None, true, false),
            (list(&["g9"]), None, false, false),
            (None, list(&["lab.org"]), true, false),
            (None, list(&["other.org"]), false, false),
            (list(&["g1"]), list(&["lab.org"]), true, false),
            (list(&["g1"]), list(&["other.org"]), false, false),
            (list(&["g9"]), list(&["lab.org"]), false, false),
        ];
        for (groups, domains, expected, for_nobody) in cases {
            let access = Access { groups, domains };
            assert_eq!(permits(&access, &who), expected, "{access:?}");
            assert_eq!(permits(&access, &nobody), for_nobody, "{access:?}");
        }
    }
}
