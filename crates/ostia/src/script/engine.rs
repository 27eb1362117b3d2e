use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Position};

use super::fault::Refused;
use super::watch::stop_reason;
use super::{digest, secret};

/// About 50 ms of work. A hook that only looks and decides needs a few dozen.
const MAX_OPERATIONS: u64 = 1_000_000;
const MAX_CALL_LEVELS: usize = 16;
const MAX_VARIABLES: usize = 64;
/// The size of one value, including everything in it.
const MAX_STRING: usize = 4 << 20;
const MAX_ITEMS: usize = 100_000;
/// Operations between two checks of the clock. One operation may allocate 4 MiB.
const LOOK_EVERY: u64 = 8;
/// How much of one text `print` and `ctx.log` write.
const LOGGED: usize = 4096;

/// An engine with the limits of the sandbox and the functions that every script has: the standard package without
/// functions that could block the machine or exhaust its memory in one operation, and `refuse(status, message[,
/// code])`.
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
        .disable_symbol("import")
        // A function curried with itself doubles in size, and no limit counts that.
        .disable_symbol("curry");
    engine.on_progress(|operations| {
        let reason = (operations % LOOK_EVERY == 0).then(stop_reason).flatten();
        reason.map(Dynamic::from)
    });
    engine.on_print(|text| tracing::info!("{}", logged(text)));
    engine.on_debug(|text, source, position| {
        let text = logged(text);
        tracing::debug!(script = source.unwrap_or(""), %position, "{text}");
    });
    engine.register_fn("sleep", |_: i64| no_sleep());
    engine.register_fn("sleep", |_: f64| no_sleep());
    engine.register_fn("replace", replace).register_fn(
        "replace",
        |text: &mut ImmutableString, find: char, with: &str| {
            replace(text, find.encode_utf8(&mut [0; 4]), with)
        },
    );
    engine.register_fn("refuse", |status: i64, message: &str| {
        refuse(status, message, "adapter_refused")
    });
    engine.register_fn("refuse", refuse);
    secret::register(&mut engine);
    digest::register(&mut engine);
    engine
}

/// The part of a text that goes into the log.
pub fn logged(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LOGGED)).unwrap_or(text)
}

/// The standard package's own version checks the length only after it has made the text.
fn replace(text: &mut ImmutableString, find: &str, with: &str) -> Result<(), Box<EvalAltResult>> {
    let found = text.matches(find).count();
    let kept = text.len().saturating_sub(found.saturating_mul(find.len()));
    if kept.saturating_add(found.saturating_mul(with.len())) > MAX_STRING {
        let what = "Length of string".to_owned();
        return Err(EvalAltResult::ErrorDataTooLarge(what, Position::NONE).into());
    }
    *text = text.replace(find, with).into();
    Ok(())
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
