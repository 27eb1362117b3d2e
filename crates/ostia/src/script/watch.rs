use std::cell::RefCell;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;

/// How much the process may grow while a script runs. The whole process is measured, because the memory of one thread
/// is unknown; a script that runs for milliseconds during such growth is the likeliest cause.
const MAX_GROWTH: u64 = 512 << 20;
/// Scripts that end sooner than this are not checked.
const MEMORY_EVERY: Duration = Duration::from_millis(2);

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// What stops the script that runs on this thread.
struct Watch {
    clock: Arc<dyn Clock>,
    deadline: Instant,
    looked: Instant,
    /// Bytes of the process at the first check.
    began_with: Option<u64>,
}

/// Runs `work` with a time by which scripts on this thread are stopped.
pub(super) fn with_deadline<T>(
    clock: &Arc<dyn Clock>,
    deadline: Instant,
    work: impl FnOnce() -> T,
) -> T {
    WATCH.set(Some(Watch {
        clock: Arc::clone(clock),
        deadline,
        looked: clock.now(),
        began_with: None,
    }));
    let done = work();
    WATCH.set(None);
    done
}

/// How long the script on this thread may still run; `None`: nobody watches it.
pub fn time_left() -> Option<Duration> {
    WATCH.with_borrow(|watch| {
        let watch = watch.as_ref()?;
        Some(watch.deadline.saturating_duration_since(watch.clock.now()))
    })
}

/// Why the script on this thread must end now.
pub(super) fn stop_reason() -> Option<&'static str> {
    WATCH.with_borrow_mut(|watch| watch.as_mut()?.look())
}

impl Watch {
    fn look(&mut self) -> Option<&'static str> {
        let now = self.clock.now();
        if now >= self.deadline {
            return Some("it took too long");
        }
        if now.saturating_duration_since(self.looked) < MEMORY_EVERY {
            return None;
        }
        self.looked = now;
        let resident = resident_bytes()?;
        let began_with = *self.began_with.get_or_insert(resident);
        let grown = resident.saturating_sub(began_with);
        (grown > MAX_GROWTH).then_some("it took too much memory")
    }
}

/// Resident memory of the process (proc_pid_status(5)); `None` where the system does not report it.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
