use std::time::Duration;

/// The facts by which one endpoint is ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signals {
    pub readiness: Readiness,
    /// The position of its model among those that may answer: 0 is the requested one, the others stand in.
    pub stand_in: u32,
    pub priority: i64,
    /// It has as many requests as it serves best.
    pub is_full: bool,
    /// The work in flight on it, in tokens.
    pub work: u64,
    /// What this request adds: the tokens of its prompt that the endpoint has not seen yet.
    pub uncached: u64,
    /// Whether it has the caller's session, or a beginning of the prompt.
    pub home: Home,
    pub weight: u32,
    /// Its share in hundredths, reduced while it recovers.
    pub share: u64,
}

/// Whether an endpoint that serves should get the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    Ready,
    /// It failed lately.
    Suspect,
    /// It refused requests until then, or could not be reached.
    Away(Duration),
}

/// Why an endpoint may have part of the work done already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Home {
    Session,
    Prefix,
    #[default]
    None,
}

/// A running request uses as much of an engine as this many tokens of prompt. It is also how much longer a request may
/// wait to stay where it was before.
pub const RUNNING: u64 = 512;

/// The rank of an endpoint: the lowest gets the request.
///
/// Ready endpoints come before others, the requested model before its stand-ins, a lower priority before a higher one,
/// and one with room before a full one. Among equals, the least work ahead of the answer wins: the endpoint's and the
/// request's own. So a request returns to where its prompt is known, until the work that waits there outweighs that.
pub type Number = (Readiness, u32, i64, bool, u64);

/// How many tokens of a prompt are likely to be new to an endpoint that has seen so many of its blocks.
pub fn likely_uncached(prompt: u64, seen: usize, blocks: usize) -> u64 {
    let (seen, blocks) = (seen.min(blocks) as u64, blocks.max(1) as u64);
    prompt - prompt.saturating_mul(seen) / blocks
}

impl Signals {
    pub fn number(&self) -> Number {
        let settling = match self.home {
            Home::None => RUNNING,
            Home::Session | Home::Prefix => 0,
        };
        let work = self.work + self.uncached + settling + RUNNING;
        let share = u64::from(self.weight.max(1)) * self.share.max(1);
        (
            self.readiness,
            self.stand_in,
            self.priority,
            self.is_full,
            work.saturating_mul(100) / share,
        )
    }

    /// What decided, as one word.
    pub fn signal(&self) -> &'static str {
        match (self.readiness, self.home) {
            (Readiness::Away(_), _) => "away",
            (Readiness::Suspect, _) => "failing",
            (Readiness::Ready, Home::Session) => "session",
            (Readiness::Ready, Home::Prefix) => "prefix",
            (Readiness::Ready, Home::None) if self.stand_in > 0 => "stand_in",
            (Readiness::Ready, Home::None) => "work",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> Signals {
        Signals {
            readiness: Readiness::Ready,
            stand_in: 0,
            priority: 0,
            is_full: false,
            work: 0,
            uncached: 4_000,
            home: Home::None,
            weight: 1,
            share: 100,
        }
    }

    #[test]
    fn readiness_then_the_model_then_priority_then_work() {
        let busy = Signals {
            work: 1_000_000,
            ..idle()
        };
        let second = Signals {
            priority: 1,
            ..idle()
        };
        let stand_in = Signals {
            stand_in: 1,
            priority: -9,
            ..idle()
        };
        let suspect = Signals {
            readiness: Readiness::Suspect,
            ..idle()
        };
        let away = |seconds| Signals {
            readiness: Readiness::Away(Duration::from_secs(seconds)),
            ..idle()
        };
        let order = [idle(), busy, second, stand_in, suspect, away(1), away(2)];
        assert!(order.is_sorted_by_key(Signals::number));
        let signals = order.map(|one| one.signal());
        assert_eq!(
            signals,
            [
                "work", "work", "work", "stand_in", "failing", "away", "away"
            ]
        );
    }

    #[test]
    fn a_request_stays_where_it_was_until_the_work_there_outweighs_it() {
        let home = |work| Signals {
            work,
            uncached: 400,
            home: Home::Prefix,
            ..idle()
        };
        let cost = 4_000 - 400 + RUNNING;
        assert!(home(cost - 1).number() < idle().number());
        assert!(home(cost + 1).number() > idle().number());
        assert_eq!(home(0).signal(), "prefix");
    }

    #[test]
    fn a_heavier_endpoint_takes_more_and_one_that_comes_back_less() {
        let heavy = Signals {
            weight: 3,
            work: 10_000,
            ..idle()
        };
        assert!(
            heavy.number()
                < Signals {
                    work: 3_000,
                    ..idle()
                }
                .number()
        );
        let cold = Signals {
            share: 10,
            ..idle()
        };
        assert!(
            cold.number()
                > Signals {
                    work: 30_000,
                    ..idle()
                }
                .number()
        );
    }
}
