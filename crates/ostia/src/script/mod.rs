//! (beside the path)
//! In: the text of a script in Rhai. Out: a compiled [`Program`], and the results, refusals or faults of its functions.
//! Here: the sandbox: operations, depth, sizes, memory and time are limited; no files, no modules, no `eval`.
//! Not here: what hooks see and may do (that is `backend` and `cluster`).

mod digest;
mod engine;
mod fault;
mod lint;
mod pool;
mod program;
mod scripts;
mod secret;
mod watch;

pub use engine::{engine, logged};
pub use fault::{ScriptError, Thrown};
pub use lint::Argument;
pub use pool::on_pool;
pub use program::{HOOKS, Program};
pub use scripts::Scripts;
pub use secret::{SecretText, text_of};
pub use watch::time_left;
