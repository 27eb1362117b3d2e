//! The binary as people and scripts see it: words in; output, exit code and log out.

mod check;
mod key;
mod serve;
mod site;
mod usage;
mod words;
