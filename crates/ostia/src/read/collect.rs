use std::any::Any;
use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::time::{Instant, timeout_at};

use super::{ReadError, Reserved};
use crate::codings::{Coding, Fault, decode};

/// How large and how slow one request's body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    pub max_body_bytes: u64,
    /// Each such period must bring [`LEAST_PROGRESS`] bytes or the end of the body; zero disables the check.
    pub body_idle_timeout: Duration,
}

/// A client that sends less than this in a whole idle period counts as silent. Otherwise a byte now and then would hold
/// its memory forever.
pub const LEAST_PROGRESS: u64 = 4096;

/// A body gets this much memory before it has shown that it needs more, whatever length it announces.
const FIRST_STEP: usize = 64 * 1024;

/// A body, and its part of the body budget.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    pub(super) reserved: Reserved,
}

impl Held {
    /// Undoes the codings of the body. The plain bytes take the place of those that arrived.
    pub(super) async fn decode(
        &mut self,
        codings: &[Coding],
        limit: u64,
        made: impl FnMut(usize),
    ) -> Result<(), ReadError> {
        let coded = std::mem::take(&mut self.bytes);
        let plain = decode(coded, codings, limit, &mut self.reserved, made).await;
        self.bytes = plain.map_err(|fault| match fault {
            Fault::Damaged(damage) => ReadError::Damaged(damage),
            Fault::TooLarge => ReadError::TooLarge { limit },
            Fault::NoMemory => ReadError::Busy,
        })?;
        self.reserved.shrink_to(self.bytes.len() as u64);
        Ok(())
    }
}

/// The bytes that arrived so far: one frame as it came, or several in one buffer.
struct Gathered {
    first: Bytes,
    buffer: Vec<u8>,
    reserved: Reserved,
}

/// How the buffer grows. Each step copies what has arrived; for as long as that takes, without a wait, the old buffer is
/// there too. Reserved but unused room takes a share of the budget but no memory.
#[derive(Clone, Copy)]
struct Growth {
    factor: usize,
    ceiling: u64,
}

/// The time by which the client must have made progress.
struct IdleTimer {
    period: Duration,
    deadline: Option<Instant>,
    progress: u64,
}

/// Reads a body to its end. Trailers are dropped. Cancel-safe: dropping the future frees what was gathered.
///
/// `announced` is the `Content-Length`. It is checked and used to size the buffer, but never trusted. `took` is told how
/// many bytes each frame brings.
pub(super) async fn collect<B>(
    mut body: B,
    announced: Option<u64>,
    limits: &ReadLimits,
    reserved: Reserved,
    mut took: impl FnMut(usize),
) -> Result<Held, ReadError>
where
    B: Body<Data = Bytes, Error: 'static> + Unpin,
{
    let limit = limits.max_body_bytes;
    let announced = announced.unwrap_or(0).max(body.size_hint().lower());
    if announced > limit {
        return Err(ReadError::TooLarge { limit });
    }
    let mut gathered = Gathered {
        first: Bytes::new(),
        buffer: Vec::new(),
        reserved,
    };
    let mut timer = IdleTimer::start(limits.body_idle_timeout);
    while let Some(data) = timer.next_frame(&mut body).await? {
        took(data.len());
        let length = gathered.len() as u64 + data.len() as u64;
        if length > limit {
            return Err(ReadError::TooLarge { limit });
        }
        timer.note(data.len() as u64);
        let growth = match length <= announced {
            true => Growth::to(announced),
            false => Growth::beyond(limit),
        };
        gathered.add(data, growth)?;
        if body.is_end_stream() {
            break;
        }
    }
    Ok(gathered.finish())
}

impl IdleTimer {
    fn start(period: Duration) -> Self {
        let deadline = (!period.is_zero()).then(|| Instant::now() + period);
        Self {
            period,
            deadline,
            progress: 0,
        }
    }

    async fn next_frame<B>(&self, body: &mut B) -> Result<Option<Bytes>, ReadError>
    where
        B: Body<Data = Bytes, Error: 'static> + Unpin,
    {
        loop {
            let frame =
                std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context));
            let frame = match self.deadline {
                Some(deadline) => timeout_at(deadline, frame)
                    .await
                    .map_err(|_| ReadError::Timeout)?,
                None => frame.await,
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(judge(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    fn note(&mut self, bytes: u64) {
        self.progress += bytes;
        if self.progress >= LEAST_PROGRESS {
            *self = Self::start(self.period);
        }
    }
}

/// Whether the client went away or sent an invalid body.
fn judge(error: &dyn Any) -> ReadError {
    let hung_up = error.downcast_ref::<hyper::Error>().is_some_and(|error| {
        error.is_incomplete_message() || error.is_closed() || is_end(error.source())
    });
    match hung_up {
        true => ReadError::HungUp,
        false => ReadError::Incomplete,
    }
}

/// The socket ended, or, if the source is not an I/O error, the HTTP/2 stream was reset.
fn is_end(source: Option<&(dyn std::error::Error + 'static)>) -> bool {
    let Some(source) = source else { return false };
    source.downcast_ref::<io::Error>().is_none_or(|error| {
        matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
        )
    })
}

impl Growth {
    /// The end is known, so large steps cannot overshoot it by much.
    fn to(announced: u64) -> Self {
        Self {
            factor: 4,
            ceiling: announced,
        }
    }

    fn beyond(limit: u64) -> Self {
        Self {
            factor: 2,
            ceiling: limit,
        }
    }
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.buffer.len()
    }

    fn add(&mut self, data: Bytes, growth: Growth) -> Result<(), ReadError> {
        if self.len() == 0 {
            self.take(data.len())?;
            self.first = data;
            return Ok(());
        }
        self.grow_to(self.len() + data.len(), growth)?;
        let first = std::mem::take(&mut self.first);
        self.buffer.extend_from_slice(&first);
        self.buffer.extend_from_slice(&data);
        Ok(())
    }

    /// Makes room for `needed` bytes in total.
    fn grow_to(&mut self, needed: usize, growth: Growth) -> Result<(), ReadError> {
        let capacity = self.buffer.capacity();
        if needed <= capacity {
            return Ok(());
        }
        let ceiling = usize::try_from(growth.ceiling).unwrap_or(usize::MAX);
        let target = (capacity * growth.factor)
            .max(FIRST_STEP)
            .min(ceiling)
            .max(needed);
        self.take(target - capacity.max(self.first.len()))?;
        self.buffer.reserve_exact(target - self.buffer.len());
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), ReadError> {
        match self.reserved.grow(bytes as u64) {
            true => Ok(()),
            false => Err(self.reserved.shortage()),
        }
    }

    fn finish(mut self) -> Held {
        self.reserved.arrived();
        let bytes = match self.buffer.is_empty() {
            true => self.first,
            false => Bytes::from(self.buffer),
        };
        Held {
            bytes,
            reserved: self.reserved,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::HeaderMap;
    use http_body::{Frame, SizeHint};

    use std::sync::Arc;

    use super::*;
    use crate::read::Budget;

    fn reserved(budget: &Arc<Budget>) -> Reserved {
        let user = "ann".into();
        budget
            .begin(&user, std::net::Ipv4Addr::LOCALHOST.into())
            .unwrap()
    }

    /// Yields what it was given; then, if `silent`, stays pending.
    #[derive(Default)]
    struct Script {
        frames: VecDeque<Result<Frame<Bytes>, ()>>,
        silent: bool,
        hint: u64,
        polled: usize,
    }

    impl Body for Script {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            self.polled += 1;
            match self.frames.pop_front() {
                None if self.silent => Poll::Pending,
                frame => Poll::Ready(frame),
            }
        }

        fn size_hint(&self) -> SizeHint {
            let mut hint = SizeHint::new();
            hint.set_lower(self.hint);
            hint
        }
    }

    fn script(frames: &[&[u8]]) -> Script {
        let frame = |data: &&[u8]| Ok(Frame::data(Bytes::copy_from_slice(data)));
        Script {
            frames: frames.iter().map(frame).collect(),
            ..Script::default()
        }
    }

    const LIMITS: ReadLimits = ReadLimits {
        max_body_bytes: 1_000_000,
        body_idle_timeout: Duration::from_secs(30),
    };

    async fn gather(
        body: &mut Script,
        announced: Option<u64>,
        budget: u64,
    ) -> Result<(Bytes, u64), ReadError> {
        let budget = Budget::new(budget);
        let result = collect(body, announced, &LIMITS, reserved(&budget), |_| {}).await;
        let result = result.map(|held| (held.bytes, budget.used()));
        assert_eq!(budget.used(), 0);
        result
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn one_frame_is_not_copied() {
        let data = Bytes::from_static(b"{\"model\":\"m\"}");
        let mut body = script(&[]);
        body.frames.push_back(Ok(Frame::data(data.clone())));
        let (bytes, used) = run(gather(&mut body, None, 100)).unwrap();
        assert_eq!(bytes.as_ptr(), data.as_ptr());
        assert_eq!((bytes, used), (data, 13));
    }

    #[test]
    fn frames_are_joined_and_trailers_dropped() {
        let mut body = script(&[b"", b"ab", b"", b"cde", b"f"]);
        body.frames.push_back(Ok(Frame::trailers(HeaderMap::new())));
        let (bytes, used) = run(gather(&mut body, None, 1 << 20)).unwrap();
        assert_eq!(bytes, "abcdef");
        assert_eq!(used, FIRST_STEP as u64);
        let (bytes, used) = run(gather(&mut script(&[b"ab", b"cd"]), Some(4), 4)).unwrap();
        assert_eq!((&bytes[..], used), (b"abcd".as_slice(), 4));
        assert_eq!(run(gather(&mut script(&[]), None, 0)).unwrap().0, "");
    }

    #[test]
    fn an_announced_length_is_not_allocated_before_it_arrives() {
        let mut body = script(&[b"a", b"b"]);
        let (_, used) = run(gather(&mut body, Some(900_000), 1 << 20)).unwrap();
        assert_eq!(used, FIRST_STEP as u64);
    }

    #[test]
    fn large_bodies_come_out_whole_and_within_twice_their_size() {
        let data: Vec<u8> = (0..700_000_u32).map(|at| at as u8).collect();
        for (step, announced) in [(1_000, None), (65_536, Some(700_000)), (333, Some(700_000))] {
            let frames: Vec<_> = data.chunks(step).collect();
            let (bytes, used) = run(gather(&mut script(&frames), announced, 2_000_000)).unwrap();
            assert!(bytes == data);
            assert!(used <= announced.unwrap_or(2 * 700_000), "{used}");
        }
    }

    #[test]
    fn too_large_is_said_before_or_as_soon_as_it_shows() {
        let too_large = Err(ReadError::TooLarge { limit: 1_000_000 });
        let mut body = script(&[b"a"]);
        assert_eq!(run(gather(&mut body, Some(1_000_001), 1 << 30)), too_large);
        assert_eq!(body.polled, 0);
        body.hint = 1_000_001;
        assert_eq!(run(gather(&mut body, None, 1 << 30)), too_large);
        assert_eq!(body.polled, 0);

        let chunk = vec![0; 100_000];
        let mut body = script(&[chunk.as_slice(); 20]);
        assert_eq!(run(gather(&mut body, None, 1 << 30)), too_large);
        assert_eq!(body.polled, 11);

        let frames = [chunk.as_slice(); 10];
        assert!(run(gather(&mut script(&frames), None, 1 << 30)).is_ok());
    }

    #[test]
    fn a_spent_budget_refuses() {
        let busy = Err(ReadError::Busy);
        assert_eq!(run(gather(&mut script(&[b"abc"]), None, 2)), busy);
        assert_eq!(run(gather(&mut script(&[b"abc", b"d"]), None, 100)), busy);
    }

    #[test]
    fn silence_ends_the_wait() {
        let limits = ReadLimits {
            body_idle_timeout: Duration::from_millis(1),
            ..LIMITS
        };
        let budget = Budget::new(100);
        let mut body = script(&[b"a"]);
        body.silent = true;
        let result = run(collect(&mut body, None, &limits, reserved(&budget), |_| {}));
        assert_eq!(result.map(|_| ()), Err(ReadError::Timeout));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn only_real_progress_moves_the_deadline() {
        run(async {
            let mut timer = IdleTimer::start(Duration::from_secs(5));
            let first = timer.deadline;
            timer.note(LEAST_PROGRESS - 1);
            assert_eq!(timer.deadline, first);
            timer.note(1);
            assert!(timer.deadline > first);
            assert_eq!(timer.progress, 0);
            assert_eq!(IdleTimer::start(Duration::ZERO).deadline, None);
        });
    }

    #[test]
    fn a_broken_body_is_incomplete() {
        let mut body = script(&[b"a"]);
        body.frames.push_back(Err(()));
        assert_eq!(
            run(gather(&mut body, None, 100)),
            Err(ReadError::Incomplete)
        );
    }
}
