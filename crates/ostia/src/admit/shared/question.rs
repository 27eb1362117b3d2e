//! The arguments of the scripts, and the meaning of their answers.

use std::collections::HashMap;
use std::time::Duration;

use ostia_core::{Ask, Claim, Denial, Level, Measure, Standing, Subject, Taken, Turn, millis};
use redis::{Script, ScriptInvocation};
use serde_json::json;

use super::REPLICAS;
use super::outbox::{Batch, Parcel};
use crate::admit::queue::Spent;

/// The scale of the scripts' counts: Lua has no larger whole numbers.
const MOST: u64 = 1 << 53;
/// Numbers of a claim in the answer of a grant, and of a denial.
const GRANTED: usize = 5;
const DENIED: usize = 3;

/// The name of a counter. Lengths keep pairs apart, whatever names hold.
pub(super) fn counter(claim: &Claim) -> String {
    let (measure, scope) = (letter(claim.measure), claim.scope.as_str());
    match &claim.subject {
        Subject::One(name) => format!("ostia:{measure}:{scope}:{name}"),
        Subject::Pair(first, second) => {
            format!("ostia:{measure}:{scope}:{}:{first}:{second}", first.len())
        }
    }
}

/// A lease of one request.
pub(super) fn member(name: &str, number: u64) -> String {
    format!("{name}:{number}")
}

pub(super) fn reserve<'a>(
    script: &'a Script,
    (name, number): (&str, u64),
    lease: Duration,
    ask: &Ask,
) -> ScriptInvocation<'a> {
    let member = member(name, number);
    let mut call = script.prepare_invoke();
    call.key(marker(&member)).arg(member);
    call.arg(millis(lease));
    call.arg(ask.cost.named.min(MOST));
    call.arg(ask.cost.guessed.min(MOST)).arg("take");
    let turn = ask.turn.as_ref().map(|turn| who(turn, name));
    call.arg(turn.unwrap_or_default());
    claims(&mut call, &ask.claims);
    call
}

fn who(turn: &Turn, replica: &str) -> String {
    let who = json!({
        "replica": replica,
        "pool": &*turn.pool,
        "class": turn.class.as_str(),
        "project": &*turn.project,
        "project_share": turn.project_share,
        "user": &*turn.user,
        "user_share": turn.user_share,
        "service": turn.service,
        "new_project": turn.is_new_project,
        "new_user": turn.is_new_user,
        "waits": turn.waits,
        "next": turn.next.as_ref().map(|(class, project, user)| json!([class.as_str(), &**project, &**user])),
    });
    who.to_string()
}

/// The channel on which a replica hears of its turns.
pub(super) fn channel(name: &str) -> String {
    format!("ostia:call:{name}")
}

/// The endpoint of a counter of its requests in flight.
pub(super) fn endpoint_of(counter: &str) -> Option<&str> {
    counter.strip_prefix("ostia:f:endpoint:")
}

pub(super) fn look<'a>(script: &'a Script, asked: &[Claim]) -> ScriptInvocation<'a> {
    let mut call = script.prepare_invoke();
    call.key(marker("look"))
        .arg("")
        .arg(0)
        .arg(0)
        .arg(0)
        .arg("look")
        .arg("");
    claims(&mut call, asked);
    call
}

fn claims(call: &mut ScriptInvocation<'_>, claims: &[Claim]) {
    for claim in claims {
        call.key(counter(claim));
        call.arg(letter(claim.measure)).arg(claim.most.min(MOST));
    }
}

pub(super) fn settle<'a>(
    script: &'a Script,
    name: &str,
    batch: &Batch<'_>,
) -> ScriptInvocation<'a> {
    let mut call = script.prepare_invoke();
    call.key(format!("ostia:batch:{name}:{}", batch.number()));
    let mut keys = Keys::default();
    for parcel in batch.parcels() {
        match parcel {
            Parcel::Over(back) => {
                call.arg("over").arg(back.used_tokens.min(MOST));
                call.arg(u8::from(back.sent)).arg(back.taken.len());
                for taken in &back.taken {
                    let member = member(name, taken.tick);
                    claim(&mut call, &mut keys, &taken.claim, &member);
                    call.arg(taken.tick).arg(taken.amount);
                }
            }
            Parcel::Away { counter } => {
                let key = keys.place(&mut call, counter.clone());
                call.arg("away").arg(key).arg(name);
            }
            Parcel::Undo { number, claims } => {
                let member = member(name, *number);
                let marker = keys.place(&mut call, marker(&member));
                call.arg("undo").arg(marker).arg(claims.len());
                for undone in claims {
                    claim(&mut call, &mut keys, undone, &member);
                    call.arg(0).arg(0);
                }
            }
        }
    }
    call
}

fn claim(call: &mut ScriptInvocation<'_>, keys: &mut Keys, claim: &Claim, member: &str) {
    let key = keys.place(call, counter(claim));
    call.arg(key).arg(letter(claim.measure));
    call.arg(claim.most.min(MOST)).arg(member);
}

/// Keys that a call names by number, each once.
#[derive(Default)]
struct Keys(HashMap<String, usize>);

impl Keys {
    /// The first one of all is another.
    fn place(&mut self, call: &mut ScriptInvocation<'_>, key: String) -> usize {
        let next = self.0.len() + 2;
        *self.0.entry(key).or_insert_with_key(|key| {
            call.key(key);
            next
        })
    }
}

pub(super) fn beat<'a>(
    script: &'a Script,
    name: &str,
    lease: Duration,
    stays: bool,
    leases: &[(String, u64)],
) -> ScriptInvocation<'a> {
    let mut call = script.prepare_invoke();
    let word = if stays { "stay" } else { "leave" };
    call.key(REPLICAS).arg(name).arg(millis(lease)).arg(word);
    let mut keys = Keys::default();
    for (counter, number) in leases {
        let key = keys.place(&mut call, counter.clone());
        call.arg(key).arg(member(name, *number));
    }
    call
}

/// `sums`: which of the sums are meant.
pub(super) fn exchange<'a>(
    script: &'a Script,
    sums: &'static str,
    spent: &[(String, Spent)],
) -> ScriptInvocation<'a> {
    let mut call = script.prepare_invoke();
    call.key(sums);
    for (whose, of) in spent {
        call.arg(whose).arg(of.service).arg(of.correction);
        call.arg(of.project_share).arg(of.user_share);
    }
    call
}

/// The server's decision; `None`: it cannot be parsed.
pub(super) fn answer(
    claims: &[Claim],
    number: u64,
    reply: &[i64],
) -> Option<Result<(Vec<Taken>, Standing), Denial>> {
    match reply {
        [1, granted @ ..] => grant(claims, number, granted).map(Ok),
        [0, denied, wait, may_return, levels @ ..] => {
            let claim = claims.get(usize::try_from(*denied).ok()?.checked_sub(1)?)?;
            Some(Err(Denial {
                scope: claim.scope,
                measure: claim.measure,
                retry_after: duration(*wait)?,
                may_return: *may_return == 1,
                standing: standing(claims, levels)?,
            }))
        }
        _ => None,
    }
}

fn grant(claims: &[Claim], number: u64, granted: &[i64]) -> Option<(Vec<Taken>, Standing)> {
    let each = granted.chunks_exact(GRANTED);
    if each.len() != claims.len() || !each.remainder().is_empty() {
        return None;
    }
    let mut taken = Vec::with_capacity(claims.len());
    let mut levels = Vec::with_capacity(claims.len());
    for (claim, of) in claims.iter().zip(each) {
        let &[tick, amount, total, debt, reset] = of else {
            return None;
        };
        let tick = match claim.measure {
            // The ask's number: it names the lease.
            Measure::InFlight => number,
            _ => u64::try_from(tick).ok()?,
        };
        taken.push(Taken {
            claim: claim.clone(),
            tick,
            amount: u64::try_from(amount).ok()?,
        });
        levels.push(level(claim, total, debt, reset)?);
    }
    Some((taken, Standing { levels }))
}

/// `levels`: the last part of a denial.
pub(super) fn standing(claims: &[Claim], levels: &[i64]) -> Option<Standing> {
    let each = levels.chunks_exact(DENIED);
    if each.len() != claims.len() || !each.remainder().is_empty() {
        return None;
    }
    let levels = claims.iter().zip(each).map(|(claim, of)| match of {
        &[total, debt, reset] => level(claim, total, debt, reset),
        _ => None,
    });
    Some(Standing {
        levels: levels.collect::<Option<_>>()?,
    })
}

fn level(claim: &Claim, total: i64, debt: i64, reset: i64) -> Option<Level> {
    Some(Level {
        scope: claim.scope,
        measure: claim.measure,
        limit: claim.most,
        used: u64::try_from(total).ok()?,
        owed: u64::try_from(debt).ok()?,
        reset: duration(reset)?,
    })
}

fn duration(millis: i64) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

fn marker(member: &str) -> String {
    format!("ostia:ask:{member}")
}

const fn letter(measure: Measure) -> &'static str {
    match measure {
        Measure::Requests => "r",
        Measure::Tokens | Measure::Balance => "t",
        Measure::InFlight => "f",
    }
}

#[cfg(test)]
mod tests {
    use ostia_core::Scope;

    use super::*;

    fn claims() -> Vec<Claim> {
        let claim = |measure| Claim {
            scope: Scope::User,
            measure,
            subject: Subject::One("ada".into()),
            most: 10,
        };
        vec![claim(Measure::Requests), claim(Measure::InFlight)]
    }

    #[test]
    fn what_makes_no_sense_is_no_answer() {
        let claims = claims();
        for nonsense in [
            &[][..],
            &[7],
            &[1],
            &[1, 5, 1, 1, 0, 0],
            &[1, 5, 1, 1, 0, 0, 0, 1, 1, 0, -1],
            &[1, 5, 1, 1, 0, 0, 0, 1, 1, 0, 0, 9],
            &[0, 3, 100, 1, 1, 0, 0, 1, 0, 0],
            &[0, 0, 100, 1, 1, 0, 0, 1, 0, 0],
            &[0, 1, -1, 1, 1, 0, 0, 1, 0, 0],
            &[0, 1, 100, 1, 1, 0, 0],
            &[2],
        ] {
            assert!(answer(&claims, 3, nonsense).is_none(), "{nonsense:?}");
        }
    }

    #[test]
    fn grants_and_denials_are_read() {
        let claims = claims();
        let granted = answer(&claims, 3, &[1, 5, 1, 4, 0, 1_050, 0, 1, 2, 0, 0]);
        let (taken, standing) = granted.unwrap().unwrap();
        let ticks: Vec<_> = taken.iter().map(|taken| taken.tick).collect();
        assert_eq!(ticks, [5, 3], "a lease goes by the number of its ask");
        assert_eq!(standing.used(Scope::User, Measure::Requests), 4);
        let denied = answer(&claims, 3, &[0, 2, 1_000, 1, 4, 0, 9, 10, 0, 0]);
        let denial = denied.unwrap().unwrap_err();
        assert_eq!(denial.measure, Measure::InFlight);
        assert!(denial.may_return);
        assert_eq!(denial.retry_after, Duration::from_secs(1));
    }

    #[test]
    fn counters_of_pairs_are_kept_apart() {
        let pair = |first: &str, second: &str| {
            counter(&Claim {
                scope: Scope::UserEndpoint,
                measure: Measure::Tokens,
                subject: Subject::Pair(first.into(), second.into()),
                most: 1,
            })
        };
        assert_ne!(pair("a:b", "c"), pair("a", "b:c"));
    }
}
