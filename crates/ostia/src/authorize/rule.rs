use ostia_core::Identity;

use crate::catalog::{Access, Cluster, Deployment};

/// The one rule: at least one of the groups, and one of the domains. What is not restricted is open.
pub fn permits(access: &Access, identity: &Identity) -> bool {
    let group_holds = access.groups.as_ref().is_none_or(|allowed| {
        identity
            .groups
            .iter()
            .any(|group| allowed.iter().any(|wanted| **wanted == **group))
    });
    let domain_holds = access.domains.as_ref().is_none_or(|allowed| {
        identity
            .domain
            .as_deref()
            .is_some_and(|domain| allowed.iter().any(|wanted| **wanted == *domain))
    });
    group_holds && domain_holds
}

/// Whether a cluster exists for this caller.
pub fn may_see(cluster: &Cluster, identity: &Identity) -> bool {
    permits(&cluster.access, identity)
}

/// Whether a deployment exists for this caller: the rules of its cluster and its own must both hold.
pub fn may_use(deployment: &Deployment, identity: &Identity) -> bool {
    may_see(&deployment.cluster, identity) && permits(&deployment.access, identity)
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
