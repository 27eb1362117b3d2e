//! A look at the raw frames of HTTP/2 (RFC 9113 section 4.1), because h2 answers PING and SETTINGS, and takes
//! WINDOW_UPDATE, PRIORITY, RST_STREAM and frames of unknown types, as often as they come.

use std::sync::Arc;
use std::time::Instant;

use ostia_core::Clock;

/// RFC 9113 section 3.4.
const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;

/// How many frames without data may come at once, beyond what was earned.
const BURST: u64 = 2_000;
/// What time earns, so that pings keep a quiet connection for years.
const PER_SECOND: u64 = 100;
/// What a request earns: its head, its end, and what belongs to both.
const PER_REQUEST: u64 = 8;
/// This many bytes to the peer earn one frame: who takes data has to open windows.
const BYTES_PER_FRAME: u64 = 64;

/// Counts the frames that a peer sends without data against the work that calls for such frames. A peer that only makes
/// work for this side (floods of PING, SETTINGS, resets, refused streams) runs out of them.
pub(crate) struct Frames {
    clock: Arc<dyn Clock>,
    header: [u8; HEADER_BYTES],
    /// So many bytes of the next frame's header have come.
    filled: usize,
    /// So many bytes belong to what came before.
    skipped: usize,
    left: u64,
    /// Up to here everything is earned.
    counted: Work,
    counted_at: Instant,
}

/// What a connection has done since its start.
#[derive(Clone, Copy, Default)]
pub(crate) struct Work {
    pub requests: u64,
    /// Bytes to the peer.
    pub written: u64,
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the peer floods the connection with HTTP/2 frames that carry no data")]
pub(crate) struct Flood;

impl Frames {
    pub fn of_client(clock: Arc<dyn Clock>) -> Self {
        Self {
            skipped: PREFACE_BYTES,
            ..Self::of_backend(clock)
        }
    }

    pub fn of_backend(clock: Arc<dyn Clock>) -> Self {
        Self {
            counted_at: clock.now(),
            clock,
            header: [0; HEADER_BYTES],
            filled: 0,
            skipped: 0,
            left: BURST,
            counted: Work::default(),
        }
    }

    /// Takes the next bytes from the socket.
    pub fn read(&mut self, mut bytes: &[u8], work: impl Fn() -> Work) -> Result<(), Flood> {
        while !bytes.is_empty() {
            if self.skipped > 0 {
                let here = bytes.len().min(self.skipped);
                self.skipped -= here;
                bytes = &bytes[here..];
                continue;
            }
            let here = bytes.len().min(HEADER_BYTES - self.filled);
            self.header[self.filled..][..here].copy_from_slice(&bytes[..here]);
            self.filled += here;
            bytes = &bytes[here..];
            if self.filled == HEADER_BYTES {
                self.filled = 0;
                self.begin_frame(&work)?;
            }
        }
        Ok(())
    }

    /// h2 itself bounds small DATA frames.
    fn begin_frame(&mut self, work: &impl Fn() -> Work) -> Result<(), Flood> {
        let [a, b, c, kind, ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.skipped = usize::try_from(length).unwrap_or(usize::MAX);
        if kind == DATA && length > 0 {
            return Ok(());
        }
        if self.left == 0 {
            self.earn(work());
        }
        self.left = self.left.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }

    fn earn(&mut self, work: Work) {
        let now = self.clock.now();
        let waited = now.saturating_duration_since(self.counted_at).as_millis();
        let by_time = u64::try_from(waited)
            .unwrap_or(u64::MAX)
            .saturating_mul(PER_SECOND)
            / 1000;
        if by_time > 0 {
            self.counted_at = now;
        }
        let requests = work.requests - self.counted.requests;
        self.counted.requests = work.requests;
        let by_bytes = (work.written - self.counted.written) / BYTES_PER_FRAME;
        self.counted.written += by_bytes * BYTES_PER_FRAME;
        self.left = by_time
            .saturating_add(requests * PER_REQUEST)
            .saturating_add(by_bytes)
            .min(BURST);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ostia_core::ManualClock;

    use super::*;

    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn frames() -> (Arc<ManualClock>, Frames) {
        let clock = Arc::new(ManualClock::at(0));
        (Arc::clone(&clock), Frames::of_backend(clock))
    }

    /// Pings until the next would be too many.
    fn pings(frames: &mut Frames, work: Work) -> u64 {
        let mut count = 0;
        loop {
            if frames.left == 0 {
                frames.earn(work);
            }
            if frames.left == 0 {
                return count;
            }
            frames.read(PING, || work).unwrap();
            count += 1;
        }
    }

    #[test]
    fn what_is_not_earned_ends() {
        let (clock, mut frames) = frames();
        assert_eq!(pings(&mut frames, Work::default()), BURST);
        assert_eq!(pings(&mut frames, Work::default()), 0);
        clock.advance(Duration::from_secs(3));
        assert_eq!(pings(&mut frames, Work::default()), 3 * PER_SECOND);
        let mut work = Work {
            requests: 5,
            written: BYTES_PER_FRAME * 10 + 1,
        };
        assert_eq!(pings(&mut frames, work), 5 * PER_REQUEST + 10);
        assert_eq!(pings(&mut frames, work), 0);
        // The rest of a frame's bytes is not lost.
        work.written += BYTES_PER_FRAME - 1;
        assert_eq!(pings(&mut frames, work), 1);
        work.requests += 1_000_000;
        assert_eq!(pings(&mut frames, work), BURST);
        assert!(frames.read(PING, || work).is_err());
    }

    #[test]
    fn a_ping_every_few_seconds_keeps_a_connection_for_years() {
        let (clock, mut frames) = frames();
        for _ in 0..1_000_000 {
            clock.advance(Duration::from_secs(10));
            assert!(frames.read(PING, Work::default).is_ok());
        }
    }

    #[test]
    fn data_is_free_and_frames_are_found_however_they_are_cut() {
        for cut in 1..40 {
            let (clock, mut kept) = frames();
            let mut frames = Frames::of_client(clock);
            let data = [&[0, 0, 3, DATA, 0, 0, 0, 0, 1][..], b"abc"].concat();
            let empty = [0, 0, 0, DATA, 1, 0, 0, 0, 1];
            let mut bytes = vec![b'P'; PREFACE_BYTES];
            for _ in 0..100 {
                bytes.extend([&data[..], PING, &empty[..]].concat());
            }
            for part in bytes.chunks(cut) {
                frames.read(part, Work::default).unwrap();
            }
            assert_eq!(pings(&mut frames, Work::default()), BURST - 200);
            kept.read(&data.repeat(10_000), Work::default).unwrap();
            assert_eq!(pings(&mut kept, Work::default()), BURST);
        }
    }
}
