//! The binary as people and scripts see it: arguments in; output, exit code and log out.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails a test, helpers of tests included"
)]

mod adapter;
mod check;
mod db;
mod demo;
mod explain;
mod first_hour;
mod guide;
mod import;
mod key;
mod login;
mod maintenance;
mod pages;
mod printed;
mod register;
mod reload;
mod schedulers;
mod serve;
mod sign_in_guide;
mod site;
mod stop;
mod supply;
mod usage;
mod words;
