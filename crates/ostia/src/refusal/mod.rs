//! In: nothing. Out: [`Refusal`] (a response that is an error), [`AnswerFault`] (how a response broke), the table of
//! codes.
//! Here: the types that rooms refuse with, and the codes that may occur.
//! Not here: which cause becomes which refusal and how it is written; `errors` decides that.

mod codes;
mod fault;
#[expect(
    clippy::module_inception,
    reason = "the room is named after its one type"
)]
mod refusal;
#[cfg(test)]
mod tests;

pub use codes::{ERROR_CODES, ErrorCode, known_code};
pub use fault::AnswerFault;
pub(crate) use refusal::one_line;
pub use refusal::{Blame, LONGEST_WAIT, Refusal};
