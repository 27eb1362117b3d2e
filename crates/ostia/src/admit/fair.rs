use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::queue::Waiter;
use ostia_core::Class;

/// Requests whose service a party that comes back may have less than others.
const CREDIT: f64 = 2.0;

/// The party for which a request waits, and its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Party {
    pub(super) class: Class,
    /// The project; a user without one is treated like a project.
    pub(super) project: Arc<str>,
    pub(super) project_share: u32,
    pub(super) user: Arc<str>,
    pub(super) user_share: u32,
}

impl Party {
    /// A user without a project is treated like a project, under a name that no project has.
    pub(super) fn project_of_one(user: &str) -> Arc<str> {
        ["\0", user].concat().into()
    }

    /// Empty where there is none.
    pub(super) fn named_project(&self) -> Arc<str> {
        match self.project.starts_with('\0') {
            true => Arc::default(),
            false => Arc::clone(&self.project),
        }
    }
}

/// Who comes next in one pool: weighted fair queueing over projects, and over the users in each, by the service that
/// they were given (virtual token counters, as in "Fairness in Serving Large Language Models", Sheng et al., 2024).
///
/// A counter holds service divided by share. A party with nothing waiting or running saves up no credit: when it comes
/// back, its counter is lifted to the least of the waiting ones, less the service of two requests. Without those two, a
/// user who asks for one answer after the other would lose credit with each: between two of them nothing waits.
#[derive(Default)]
pub(super) struct Lines {
    projects: BTreeMap<(Class, Arc<str>), Project>,
    /// The counter of the project that was served last, by class: used as the least counter while nobody waits.
    present: BTreeMap<Class, f64>,
    waiting: usize,
    running: usize,
}

#[derive(Default)]
struct Project {
    counter: f64,
    share: u32,
    users: BTreeMap<Arc<str>, Line>,
    /// The counter of the user who was served last.
    present: f64,
    /// The service of its last request.
    last: f64,
    /// [`Lines::is_new`] said that it is here.
    is_known: bool,
}

/// One user's requests: they wait in the order in which they came.
#[derive(Default)]
struct Line {
    counter: f64,
    share: u32,
    waiters: VecDeque<Arc<Waiter>>,
    /// Requests that were counted when they were let in, and are not over.
    running: usize,
    /// Its first request waits for room under its own limit. Others are served meanwhile.
    is_held: bool,
    /// The service of its last request.
    last: f64,
    /// [`Lines::is_new`] said that it is here.
    is_known: bool,
}

/// The order in which the firsts of the lines are served.
#[derive(PartialEq)]
struct Turn {
    class: Class,
    project: f64,
    user: f64,
    arrival: u64,
}

impl Lines {
    pub(super) fn join(&mut self, waiter: &Arc<Waiter>) {
        self.line(&waiter.party)
            .waiters
            .push_back(Arc::clone(waiter));
        self.waiting += 1;
    }

    /// Removes a waiter that was served, or left. The line goes on with its next one.
    pub(super) fn leave(&mut self, waiter: &Arc<Waiter>) {
        let line = self.line(&waiter.party);
        let Some(at) = line
            .waiters
            .iter()
            .position(|other| Arc::ptr_eq(other, waiter))
        else {
            return self.forget(&waiter.party);
        };
        line.waiters.remove(at);
        if at == 0 {
            line.is_held = false;
        }
        self.waiting -= 1;
        self.forget(&waiter.party);
    }

    /// A request runs, and is counted with its expected service.
    pub(super) fn started(&mut self, party: &Party, service: f64) {
        self.line(party).running += 1;
        self.running += 1;
        if let Some(project) = self.projects.get_mut(&key(party)) {
            let present = self.present.entry(party.class).or_default();
            *present = present.max(project.counter);
            project.last = service;
            if let Some(line) = project.users.get_mut(&party.user) {
                project.present = project.present.max(line.counter);
                line.last = service;
            }
        }
        self.charge(party.class, &party.project, &party.user, service);
    }

    /// It is over. `correction`: its actual service minus the counted one.
    pub(super) fn ended(&mut self, party: &Party, correction: f64) {
        self.charge(party.class, &party.project, &party.user, correction);
        if let Some(project) = self.projects.get_mut(&key(party)) {
            project.last = (project.last + correction).max(0.0);
        }
        let line = self.line(party);
        line.last = (line.last + correction).max(0.0);
        if line.running > 0 {
            line.running -= 1;
            self.running -= 1;
        }
        self.forget(party);
    }

    /// Whether the party was idle when it was last asked: its project, and the user in it.
    pub(super) fn is_new(&mut self, party: &Party) -> (bool, bool) {
        let Some(project) = self.projects.get_mut(&key(party)) else {
            return (true, true);
        };
        let is_new_project = project.is_idle() || !std::mem::replace(&mut project.is_known, true);
        let line = project.users.get_mut(&party.user);
        let is_new_user =
            line.is_none_or(|line| line.is_idle() || !std::mem::replace(&mut line.is_known, true));
        (is_new_project, is_new_user)
    }

    /// Counts service for those who wait or run here; the others save nothing up.
    pub(super) fn charge(&mut self, class: Class, project: &Arc<str>, user: &str, service: f64) {
        let Some(project) = self.projects.get_mut(&(class, Arc::clone(project))) else {
            return;
        };
        project.counter += share_of(service, project.share);
        if let Some(line) = project.users.get_mut(user) {
            line.counter += share_of(service, line.share);
        }
    }

    /// The last request of the longest line in the last class: it gives way if there is no room for another waiter.
    pub(super) fn longest(&self) -> Option<(Class, usize, Arc<Waiter>)> {
        let lines = self.projects.iter().flat_map(|((class, _), project)| {
            let lines = project.users.values();
            lines.filter_map(move |line| Some((*class, line.waiters.len(), line.waiters.back()?)))
        });
        let (class, length, last) = lines.max_by_key(|(class, length, _)| (*class, *length))?;
        Some((class, length, Arc::clone(last)))
    }

    pub(super) fn length_of(&self, party: &Party) -> usize {
        self.known_line(party).map_or(0, |line| line.waiters.len())
    }

    /// Something came back under limits that may be any party's.
    pub(super) fn release_all(&mut self) {
        for project in self.projects.values_mut() {
            for line in project.users.values_mut() {
                line.is_held = false;
            }
        }
    }

    /// Whether the first of this one's line waits for room under a limit of its own.
    pub(super) fn set_held(&mut self, party: &Party, is_held: bool) {
        self.line(party).is_held = is_held;
    }

    /// Something came back under a user's limits.
    pub(super) fn release_user(&mut self, user: &str) {
        for project in self.projects.values_mut() {
            if let Some(line) = project.users.get_mut(user) {
                line.is_held = false;
            }
        }
    }

    /// The next one of those that `may`. The others of its line wait behind it.
    pub(super) fn next(&self, may: impl Fn(&Waiter) -> bool) -> Option<Arc<Waiter>> {
        let firsts = self.firsts().filter(|(_, first)| may(first));
        let next = firsts.min_by(|(a, _), (b, _)| a.compare(b));
        next.map(|(_, first)| Arc::clone(first))
    }

    /// The next one after `waiter`, of those that `may`.
    pub(super) fn next_after(
        &self,
        waiter: &Arc<Waiter>,
        may: impl Fn(&Waiter) -> bool,
    ) -> Option<Arc<Waiter>> {
        let own = self.turn_of(waiter)?;
        let later = self
            .firsts()
            .filter(|(turn, first)| own.compare(turn).is_lt() && may(first));
        let next = later.min_by(|(a, _), (b, _)| a.compare(b));
        next.map(|(_, first)| Arc::clone(first))
    }

    /// The next one of those that `may`, once the first of this party's line is served.
    pub(super) fn behind(
        &self,
        party: &Party,
        service: f64,
        may: impl Fn(&Waiter) -> bool,
    ) -> Option<&Arc<Waiter>> {
        let served = key(party);
        let lines = self.projects.iter().flat_map(|(name, project)| {
            let users = project.users.iter();
            users.map(move |(user, line)| (name, project, user, line))
        });
        let turns = lines.filter_map(|(name, project, user, line)| {
            let is_project = *name == served;
            let is_line = is_project && *user == party.user;
            let first = line.waiters.get(usize::from(is_line))?;
            let mut turn = Turn::of(name.0, project, line, first);
            if is_project {
                turn.project += share_of(service, project.share);
            }
            if is_line {
                turn.user += share_of(service, line.share);
            }
            (!line.is_held && may(first)).then_some((turn, first))
        });
        let next = turns.min_by(|(a, _), (b, _)| a.compare(b));
        next.map(|(_, first)| first)
    }

    /// Whether another one goes first: this one is not the first of its line, or another line's first comes before it
    /// and may use every endpoint that this one may use.
    pub(super) fn is_preceded(&self, waiter: &Arc<Waiter>) -> bool {
        let Some(own) = self.turn_of(waiter) else {
            return true;
        };
        self.firsts()
            .any(|(turn, first)| turn.compare(&own).is_lt() && first.covers(waiter))
    }

    /// How many are likely to be served before this one: from every other line as many as from its own line up to it.
    pub(super) fn ahead_of(&self, waiter: &Arc<Waiter>) -> usize {
        let own = self.known_line(&waiter.party).map_or(0, |line| {
            let mut waiters = line.waiters.iter();
            waiters
                .position(|other| Arc::ptr_eq(other, waiter))
                .unwrap_or(line.waiters.len())
        });
        let lines = self.projects.iter().flat_map(|((class, _), project)| {
            project
                .users
                .values()
                .map(move |line| (class, line.waiters.len()))
        });
        let ahead = lines.map(|(class, waiting)| match class.cmp(&waiter.party.class) {
            Ordering::Less => waiting,
            Ordering::Equal => waiting.min(own + 1),
            Ordering::Greater => 0,
        });
        ahead.sum::<usize>().saturating_sub(1)
    }

    pub(super) fn waiters(&self) -> impl Iterator<Item = &Arc<Waiter>> {
        let lines = self
            .projects
            .values()
            .flat_map(|project| project.users.values());
        lines.flat_map(|line| &line.waiters)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn waiting_of(&self, user: &str) -> usize {
        let lines = self
            .projects
            .values()
            .filter_map(|project| project.users.get(user));
        lines.map(|line| line.waiters.len()).sum()
    }

    /// Nobody waits, and no counted request runs.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.running == 0
    }

    fn firsts(&self) -> impl Iterator<Item = (Turn, &Arc<Waiter>)> {
        self.projects.iter().flat_map(|((class, _), project)| {
            let lines = project.users.values().filter(|line| !line.is_held);
            lines.filter_map(|line| {
                let first = line.waiters.front()?;
                Some((Turn::of(*class, project, line, first), first))
            })
        })
    }

    fn turn_of(&self, waiter: &Arc<Waiter>) -> Option<Turn> {
        let project = self.projects.get(&key(&waiter.party))?;
        let line = project.users.get(&waiter.party.user)?;
        let first = line
            .waiters
            .front()
            .filter(|first| Arc::ptr_eq(first, waiter))?;
        Some(Turn::of(waiter.party.class, project, line, first))
    }

    fn known_line(&self, party: &Party) -> Option<&Line> {
        self.projects.get(&key(party))?.users.get(&party.user)
    }

    /// The party's line, lifted where it was idle.
    fn line(&mut self, party: &Party) -> &mut Line {
        let floor = self.floor(party.class);
        let project = self.projects.entry(key(party)).or_default();
        project.share = party.project_share;
        if project.is_idle() {
            project.counter = project.counter.max(floor - project.credit());
            project.is_known = false;
        }
        let floor = project.floor();
        let line = project.users.entry(Arc::clone(&party.user)).or_default();
        line.share = party.user_share;
        if line.is_idle() {
            line.counter = line.counter.max(floor - line.credit());
            line.is_known = false;
        }
        line
    }

    /// The least counter of the projects that wait.
    fn floor(&self, class: Class) -> f64 {
        let projects = self.projects.iter().filter(|((other, _), project)| {
            *other == class && project.users.values().any(|line| !line.waiters.is_empty())
        });
        let least = projects
            .map(|(_, project)| project.counter)
            .reduce(f64::min);
        least.unwrap_or_else(|| self.present.get(&class).copied().unwrap_or_default())
    }

    /// Drops idle lines whose counters would be lifted anyway.
    fn forget(&mut self, party: &Party) {
        if self.is_idle() {
            self.projects.clear();
            self.present.clear();
            return;
        }
        let floor = self.floor(party.class);
        let Some(project) = self.projects.get_mut(&key(party)) else {
            return;
        };
        let least = project.floor();
        project
            .users
            .retain(|_, line| !line.is_idle() || line.counter > least - line.credit());
        self.projects.retain(|(class, _), project| {
            *class != party.class
                || !project.is_idle()
                || project.counter > floor - project.credit()
        });
    }
}

impl Project {
    fn is_idle(&self) -> bool {
        self.users.values().all(Line::is_idle)
    }

    fn credit(&self) -> f64 {
        share_of(CREDIT * self.last, self.share)
    }

    /// The least counter of the users who wait.
    fn floor(&self) -> f64 {
        let lines = self.users.values().filter(|line| !line.waiters.is_empty());
        let least = lines.map(|line| line.counter).reduce(f64::min);
        least.unwrap_or(self.present)
    }
}

impl Line {
    fn is_idle(&self) -> bool {
        self.waiters.is_empty() && self.running == 0
    }

    fn credit(&self) -> f64 {
        share_of(CREDIT * self.last, self.share)
    }
}

impl Turn {
    fn of(class: Class, project: &Project, line: &Line, first: &Waiter) -> Self {
        Self {
            class,
            project: project.counter,
            user: line.counter,
            arrival: first.arrival,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let class = self.class.cmp(&other.class);
        let project = || self.project.total_cmp(&other.project);
        let user = || self.user.total_cmp(&other.user);
        class
            .then_with(project)
            .then_with(user)
            .then_with(|| self.arrival.cmp(&other.arrival))
    }
}

/// What counts of a service for a party with this share.
fn share_of(service: f64, share: u32) -> f64 {
    service / f64::from(share.max(1))
}

fn key(party: &Party) -> (Class, Arc<str>) {
    (party.class, Arc::clone(&party.project))
}

#[cfg(test)]
mod tests;
