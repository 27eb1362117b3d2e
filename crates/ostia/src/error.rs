//! The one table from causes to answers.
