use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use ostia_core::Clock;
use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine, EvalAltResult, Position};

use super::fault::Refused;

/// About 50 ms of work. A hook that only looks and decides needs a few dozen.
const MAX_OPERATIONS: u64 = 1_000_000;
const MAX_CALL_LEVELS: usize = 16;
const MAX_VARIABLES: usize = 64;
/// Of one value with everything in it.
const MAX_STRING: usize = 4 << 20;
const MAX_ITEMS: usize = 100_000;
/// How many operations pass between two looks at the clock.
const LOOK_EVERY: u64 = 256;

thread_local! {
    /// When the script that runs on this thread has to end.
    static DEADLINE: RefCell<Option<(Arc<dyn Clock>, Instant)>> = const { RefCell::new(None) };
}

/// An engine with the limits of the sandbox and the functions that every script has: the standard package without
/// `sleep`, and `refuse(status, message[, code])`.
pub fn engine() -> Engine {
    let mut engine = Engine::new_raw();
    StandardPackage::new().register_into_engine(&mut engine);
    engine
        .set_max_operations(MAX_OPERATIONS)
        .set_max_call_levels(MAX_CALL_LEVELS)
        .set_max_expr_depths(64, 64)
        .set_max_variables(MAX_VARIABLES)
        .set_max_functions(256)
        .set_max_modules(0)
        .set_max_string_size(MAX_STRING)
        .set_max_array_size(MAX_ITEMS)
        .set_max_map_size(MAX_ITEMS)
        .disable_symbol("eval")
        .disable_symbol("import");
    engine.on_progress(|operations| {
        let late = operations % LOOK_EVERY == 0 && past_deadline();
        late.then(|| Dynamic::from("it took too long"))
    });
    engine.on_print(|text| tracing::info!("{text}"));
    engine.on_debug(|text, source, position| {
        tracing::debug!(script = source.unwrap_or(""), %position, "{text}");
    });
    engine.register_fn("sleep", |_: i64| no_sleep());
    engine.register_fn("sleep", |_: f64| no_sleep());
    engine.register_fn("refuse", |status: i64, message: &str| {
        refuse(status, message, "adapter_refused")
    });
    engine.register_fn("refuse", refuse);
    engine
}

/// Runs `work` with a time by which scripts on this thread are stopped.
pub(super) fn with_deadline<T>(
    clock: &Arc<dyn Clock>,
    deadline: Instant,
    work: impl FnOnce() -> T,
) -> T {
    DEADLINE.set(Some((Arc::clone(clock), deadline)));
    let done = work();
    DEADLINE.set(None);
    done
}

fn past_deadline() -> bool {
    DEADLINE.with_borrow(|deadline| {
        deadline
            .as_ref()
            .is_some_and(|(clock, deadline)| clock.now() >= *deadline)
    })
}

fn no_sleep() -> Result<(), Box<EvalAltResult>> {
    Err("`sleep` is not there: it would hold a thread".into())
}

fn refuse(status: i64, message: &str, code: &str) -> Result<Dynamic, Box<EvalAltResult>> {
    let refused = Refused {
        status: u16::try_from(status).unwrap_or(500),
        message: message.to_owned(),
        code: code.to_owned(),
    };
    Err(Box::new(EvalAltResult::ErrorRuntime(
        Dynamic::from(refused),
        Position::NONE,
    )))
}
