use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use ostia_core::{Identity, Login, OwnName, Project, Role, Roles};

use super::behalf;
use super::directory::is_member;
use super::{Directory, Sender, SignInError, Verified};
use crate::settings::Who;

const PROJECT: HeaderName = HeaderName::from_static("x-ostia-project");

/// The site's own rules for users whom providers vouch for: links, disabled accounts, admission, roles, and the project
/// of a request. Built anew with each reading of the files.
#[derive(Default, Clone)]
pub struct House {
    directory: Option<Arc<Directory>>,
    admit: Vec<Who>,
    roles: Vec<(Role, Who)>,
}

/// Somebody for whom a provider vouched, and the result of the house's rules.
pub(super) struct Guest {
    verified: Verified,
    /// Unix microseconds.
    vouched_at: i64,
    seat: ArcSwapOption<Seat>,
}

/// The result of the house's rules for a guest, for one reading of the roster.
struct Seat {
    reading: u64,
    outcome: Result<Placed, SignInError>,
}

#[derive(Clone)]
struct Placed {
    identity: Arc<Identity>,
    /// Where a key may come from; empty: from anywhere.
    networks: Arc<[IpNet]>,
}

impl Guest {
    pub(super) fn new(verified: Verified, now: i64) -> Self {
        Self {
            vouched_at: verified.vouched_at.unwrap_or(now),
            verified,
            seat: ArcSwapOption::empty(),
        }
    }
}

impl Deref for Guest {
    type Target = Verified;

    fn deref(&self) -> &Verified {
        &self.verified
    }
}

impl House {
    pub fn new(directory: Arc<Directory>, admit: Vec<Who>, roles: Vec<(Role, Who)>) -> Self {
        Self {
            directory: Some(directory),
            admit,
            roles,
        }
    }

    /// The principal for this one request.
    pub(super) fn seat(
        &self,
        guest: &Guest,
        headers: &HeaderMap,
        sender: Sender,
    ) -> Result<Arc<Identity>, SignInError> {
        let placed = self.placed(guest)?;
        check_network(&placed.networks, sender.origin_ip)?;
        match headers.get(PROJECT) {
            None => Ok(placed.identity),
            // A front end's user chooses among their own projects.
            Some(_) if acts_for_others(&placed.identity) => Ok(placed.identity),
            Some(_) => {
                let is_bound = !guest.identity.project.is_empty();
                self.in_project(&placed.identity, is_bound, headers)
            }
        }
    }

    /// Who it is for the gateway, where no request says more.
    pub(super) fn seated(&self, guest: &Guest) -> Result<Arc<Identity>, SignInError> {
        self.placed(guest).map(|placed| placed.identity)
    }

    /// The user whom a front end names, if it does.
    pub(super) async fn acting(
        &self,
        front: Arc<Identity>,
        headers: &HeaderMap,
        key: &str,
        now: i64,
    ) -> Result<Arc<Identity>, SignInError> {
        let (Some(directory), Some(rights)) = (&self.directory, &front.rights) else {
            return Ok(front);
        };
        if !acts_for_others(&front) {
            return Ok(front);
        }
        let named = behalf::named(rights, headers, key, now, directory.used())?;
        let Some(named) = named else {
            return match headers.contains_key(PROJECT) {
                true => self.in_project(&front, !front.project.is_empty(), headers),
                false => Ok(front),
            };
        };
        let groups = directory.groups_of(&named.username).await;
        let groups = groups.map_err(|error| {
            tracing::warn!(%error, "the database does not say which groups a user is in");
            SignInError::StoreUnavailable
        })?;
        let user = self.place(&behalf::acting(&front, &named, groups))?;
        // Never more than inference, whatever the user may do otherwise.
        let user = Arc::new(Identity {
            roles: Roles::NONE,
            ..user
        });
        match headers.contains_key(PROJECT) {
            true => self.in_project(&user, false, headers),
            false => Ok(user),
        }
    }

    /// The same for somebody who was not identified by a request.
    pub fn place(&self, identity: &Identity) -> Result<Identity, SignInError> {
        let mut identity = identity.clone();
        if let Some(directory) = &self.directory {
            if !directory.is_read() {
                return Err(SignInError::StoreUnavailable);
            }
            identity.user_id = directory.person_of(&identity);
            if directory.is_disabled(&identity.user_id) {
                return Err(SignInError::Disabled);
            }
        }
        self.check_admitted(&identity)?;
        identity.roles = identity.roles.and(self.roles_of(&identity));
        self.default_project(&mut identity)?;
        Ok(identity)
    }

    fn placed(&self, guest: &Guest) -> Result<Placed, SignInError> {
        let reading = self.directory.as_ref().map_or(0, |one| one.reading());
        if let Some(seat) = &*guest.seat.load()
            && seat.reading == reading
        {
            return seat.outcome.clone();
        }
        let outcome = self.place(&guest.identity).and_then(|identity| {
            Ok(Placed {
                networks: networks(&identity)?,
                identity: Arc::new(identity),
            })
        });
        if let (Ok(placed), Some(directory)) = (&outcome, &self.directory)
            && placed.identity.key_id.is_none()
        {
            directory.note(login(guest, &placed.identity));
        }
        if !matches!(&outcome, Err(error) if error.is_outage()) {
            let outcome = outcome.clone();
            guest.seat.store(Some(Arc::new(Seat { reading, outcome })));
        }
        outcome
    }

    fn check_admitted(&self, identity: &Identity) -> Result<(), SignInError> {
        let is_service = identity
            .rights
            .as_ref()
            .is_some_and(|rights| rights.service);
        let admitted = self.admit.is_empty() || is_service;
        if admitted || self.admit.iter().any(|who| is_named(who, identity)) {
            return Ok(());
        }
        let needed: Vec<_> = self.admit.iter().map(ToString::to_string).collect();
        let unlisted = match identity.groups_unlisted {
            true => " Your sign-in names no groups, because you are in too many of them.",
            false => "",
        };
        Err(SignInError::PolicyDenied(format!(
            "You are signed in as {}, but not admitted to this gateway. It admits: {}.{unlisted} Ask the operators.",
            identity.username,
            needed.join(", ")
        )))
    }

    fn roles_of(&self, identity: &Identity) -> Roles {
        let held = self.roles.iter().filter(|(_, who)| is_named(who, identity));
        held.map(|(role, _)| *role).collect()
    }

    /// The project of a request that names none: the key's, or the only one of which its sender is a member.
    fn default_project(&self, identity: &mut Identity) -> Result<(), SignInError> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        if identity.project.is_empty() {
            if let [only] = &directory.projects_of(identity)[..] {
                enter(identity, only);
            }
            return Ok(());
        }
        // A name without a project is only a label.
        let Some(project) = directory.project(&identity.project) else {
            return Ok(());
        };
        let is_service = identity
            .rights
            .as_ref()
            .is_some_and(|rights| rights.service);
        if !project.is_open() || !(is_service || is_member(&project, identity)) {
            return Err(not_in(&identity.project));
        }
        enter(identity, &project);
        Ok(())
    }

    /// The project that `X-Ostia-Project` names. A missing project looks the same as one of which the caller is not a
    /// member. `is_bound`: the key was made for one project.
    fn in_project(
        &self,
        identity: &Arc<Identity>,
        is_bound: bool,
        headers: &HeaderMap,
    ) -> Result<Arc<Identity>, SignInError> {
        let mut lines = headers.get_all(PROJECT).iter();
        let (name, second) = (lines.next(), lines.next());
        let name = name.and_then(|name| std::str::from_utf8(name.as_bytes()).ok());
        let Some(name) = name.filter(|_| second.is_none()) else {
            return Err(not_in("that the header 'X-Ostia-Project' names"));
        };
        if name.is_empty() || *name == *identity.project {
            return Ok(Arc::clone(identity));
        }
        let directory = self.directory.as_ref().filter(|_| !is_bound);
        let project = directory.and_then(|directory| directory.project(name));
        let project = project.filter(|one| one.is_open() && is_member(one, identity));
        let project = project.ok_or_else(|| not_in(name))?;
        let mut chosen = Identity::clone(identity);
        chosen.models = own_models(&chosen);
        enter(&mut chosen, &project);
        Ok(Arc::new(chosen))
    }
}

fn acts_for_others(identity: &Identity) -> bool {
    let rights = identity.rights.as_ref();
    rights.is_some_and(|rights| !rights.on_behalf_of.is_empty())
}

fn enter(identity: &mut Identity, project: &Project) {
    identity.project = Arc::clone(&project.name);
    identity.project_share = project.fair_share;
    if project.models.is_empty() {
        return;
    }
    let allowed = project.models.iter().map(|model| Arc::from(model.as_str()));
    identity.models = Some(match &identity.models {
        None => allowed.collect(),
        Some(own) => allowed.filter(|model| own.contains(model)).collect(),
    });
}

/// The key's own restrictions.
fn own_models(identity: &Identity) -> Option<Arc<[Arc<str>]>> {
    if let Some(front) = &identity.front {
        return front.models.clone();
    }
    let rights = identity.rights.as_ref()?;
    let models = rights.models.iter().map(|model| Arc::from(model.as_str()));
    (!rights.models.is_empty()).then(|| models.collect())
}

fn not_in(project: &str) -> SignInError {
    SignInError::PolicyDenied(format!(
        "You may not use the project '{project}': you are not a member, or there is none of that name."
    ))
}

fn is_named(who: &Who, identity: &Identity) -> bool {
    match who {
        Who::Everybody => true,
        Who::Group(group) => identity.groups.iter().any(|held| **held == **group),
        Who::Domain(domain) => identity.domain.as_deref() == Some(domain),
        Who::User(name) => identity.goes_by(name),
        Who::Key(id) => identity.key_id.as_deref() == Some(id),
    }
}

fn networks(identity: &Identity) -> Result<Arc<[IpNet]>, SignInError> {
    let Some(rights) = &identity.rights else {
        return Ok(Arc::default());
    };
    let parsed = rights.addresses.iter().map(|text| text.parse());
    // An unreadable restriction must not count as none.
    parsed
        .collect::<Result<Arc<[IpNet]>, _>>()
        .map_err(|_| SignInError::InvalidKey)
}

fn check_network(networks: &[IpNet], origin: IpAddr) -> Result<(), SignInError> {
    let origin = origin.to_canonical();
    if networks.is_empty() || networks.iter().any(|network| network.contains(&origin)) {
        return Ok(());
    }
    Err(SignInError::PolicyDenied(
        "This key may not be used from your address.".to_owned(),
    ))
}

/// Which of the names that the database has of an identity is its own.
fn own_of(said: &Identity) -> OwnName {
    match &said.own_name {
        none if none.is_empty() => OwnName::None,
        name if *name == said.username => OwnName::Username,
        name if *name == said.email => OwnName::Email,
        _ => OwnName::None,
    }
}

fn login(guest: &Guest, placed: &Identity) -> Login {
    let said = &guest.identity;
    Login {
        id: said.user_id.to_string(),
        person: placed.user_id.to_string(),
        auth_service: said.auth_service.to_string(),
        idp: said.idp_name.to_string(),
        username: said.username.to_string(),
        name: said.name.to_string(),
        email: said.email.to_string(),
        own: own_of(said),
        groups: (!said.groups_unlisted)
            .then(|| said.groups.iter().map(ToString::to_string).collect()),
        confirmed_at: guest.vouched_at,
    }
}
