use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

/// Turns a panic into an event, so that it is one line like all others.
pub(super) fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let backtrace = Backtrace::capture();
        let captured = backtrace.status() == BacktraceStatus::Captured;
        tracing::error!(
            target: "ostia::panic",
            place = info.location().map(tracing::field::display),
            backtrace = captured.then(|| tracing::field::display(&backtrace)),
            "panic: {}",
            message(info)
        );
    }));
}

/// A text built at run time may contain a piece of somebody's prompt or key.
fn message<'a>(info: &PanicHookInfo<'a>) -> &'a str {
    match info.payload().downcast_ref::<&'static str>() {
        Some(text) => text,
        None => "(the text may hold private data and is not shown)",
    }
}
