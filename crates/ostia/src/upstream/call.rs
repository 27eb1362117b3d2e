use std::sync::Arc;

use http::StatusCode;
use http::header::CONNECTION;
use http::response::Parts;
use ostia_core::Phase;

use super::client::Progress;
use super::http2::Lane;
use super::link::Link;
use super::message::{Message, Unwritable};
use super::pool::{Busy, Channel, Pool};
use super::trouble::Trouble;
use super::{FailureKind, UpstreamBody, UpstreamFailure, UpstreamResponse};
use crate::catalog::Timeouts;
use crate::habits::drop_second_length;

/// One call in progress.
pub(super) struct Call<'a> {
    pub(super) pool: Arc<Pool>,
    pub(super) timeouts: Timeouts,
    pub(super) progress: Progress<'a>,
    /// How many times the request was written to a socket.
    pub(super) sends: u32,
}

impl Call<'_> {
    /// Sends the message on `channel` and waits for the response head. `reused`: the channel has served a request
    /// before.
    pub(super) async fn attempt(
        &mut self,
        channel: Channel,
        message: Message,
        reused: bool,
    ) -> Result<UpstreamResponse<UpstreamBody>, Trouble> {
        let busy = self.pool.gauges.busy();
        let exchanged = match channel {
            Channel::Own(link) => self.on_link(link, message, busy, reused).await,
            Channel::Shared(lane) => self.on_lane(lane, message, busy).await,
        };
        if !matches!(&exchanged, Err(trouble) if !trouble.written) {
            self.sends += 1;
        }
        let (head, body) = exchanged?;
        Ok(UpstreamResponse {
            head,
            body,
            sends: self.sends,
        })
    }

    async fn on_link(
        &mut self,
        mut link: Box<Link>,
        message: Message,
        busy: Busy,
        reused: bool,
    ) -> Result<(Parts, UpstreamBody), Trouble> {
        let request = message.into_http1(&self.pool.parts)?;
        let mut begun = || (self.progress)(Phase::WaitingHeaders);
        let answer = link
            .exchange(request, self.timeouts.response_header, &mut begun)
            .await?;
        let (mut head, body) = answer.into_parts();
        if reused && is_farewell(&head) {
            return Err(Trouble {
                kind: FailureKind::Closed,
                detail: "the backend closed an idle connection with a 408".to_owned(),
                written: true,
                silent: true,
                refused: false,
            });
        }
        // A Content-Length beside Transfer-Encoding must be ignored and must not be forwarded. It may be an attempt at
        // response splitting, so the connection is not reused (RFC 9112 section 6.3).
        let is_doubtful = drop_second_length(&mut head.headers);
        let home = (!is_doubtful).then(|| Arc::clone(&self.pool));
        Ok((head, UpstreamBody::on_link(body, link, home, busy)))
    }

    async fn on_lane(
        &mut self,
        mut lane: Lane,
        message: Message,
        busy: Busy,
    ) -> Result<(Parts, UpstreamBody), Trouble> {
        let request = message.into_http2(&self.pool.parts)?;
        let mut begun = || (self.progress)(Phase::WaitingHeaders);
        let answer = lane
            .exchange(request, self.timeouts.response_header, &mut begun)
            .await;
        match answer {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                Ok((head, UpstreamBody::on_lane(body, lane.into_place(), busy)))
            }
            Err(trouble) => {
                // A connection that is dead or timed out gets no more requests.
                let is_dead = trouble.silent || !trouble.written && !trouble.refused;
                if is_dead || trouble.kind == FailureKind::Timeout {
                    self.pool.retire(&lane);
                }
                Err(trouble)
            }
        }
    }

    pub(super) fn failure(&self, trouble: Trouble) -> UpstreamFailure {
        UpstreamFailure {
            kind: trouble.kind,
            phase: if self.sends > 0 {
                Phase::WaitingHeaders
            } else {
                Phase::Connecting
            },
            retry_safe: !trouble.written,
            sends: self.sends,
            detail: trouble.detail,
        }
    }
}

/// Some servers end an idle connection with a 408 before they close it, and it may cross with a request (RFC 9110
/// section 15.5.9).
fn is_farewell(head: &Parts) -> bool {
    head.status == StatusCode::REQUEST_TIMEOUT
        && head
            .headers
            .get(CONNECTION)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

impl From<Unwritable> for Trouble {
    fn from(error: Unwritable) -> Self {
        Self {
            kind: FailureKind::Invalid,
            detail: error.to_string(),
            written: false,
            silent: false,
            refused: false,
        }
    }
}

impl From<Unwritable> for UpstreamFailure {
    fn from(error: Unwritable) -> Self {
        Self {
            kind: FailureKind::Invalid,
            phase: Phase::Connecting,
            retry_safe: false,
            sends: 0,
            detail: error.to_string(),
        }
    }
}
