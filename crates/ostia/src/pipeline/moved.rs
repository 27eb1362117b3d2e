//! What happens to a request that its endpoint turned away.

use std::time::{Duration, SystemTime};

use crate::admit::Attempt;
use crate::backend::Answer;
use crate::gateway::Gateway;
use crate::settings::Limits;

#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(super) enum Moved {
    /// Try another endpoint, or the same one later.
    Next(Attempt),
    /// This answer goes to the caller.
    Answered(Attempt, Answer),
}

/// Moves a request on from a backend that turned it away: at once if there is another endpoint, otherwise when one is
/// back, if that is soon enough.
pub(super) async fn moved_on(
    gateway: &Gateway,
    attempt: Attempt,
    mut answer: Answer,
    limits: &Limits,
) -> Moved {
    let state = &attempt.deployment().state;
    state.heard();
    let wall = u64::try_from(gateway.clock().unix_micros()).unwrap_or_default();
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(wall);
    let Some(no) = answer.turned_away(now) else {
        if !answer.status.is_server_error() {
            state.answered();
        }
        return Moved::Answered(attempt, answer);
    };
    let attempt = match attempt.turned_away(no.for_so_long, limits).await {
        Ok(next) => return Moved::Next(next),
        Err(attempt) => attempt,
    };
    answer.hold().await;
    match attempt.come_back(limits).await {
        Ok(next) => Moved::Next(next),
        Err(attempt) => Moved::Answered(attempt, answer),
    }
}
