//! In: requests of browsers, and the [`crate::gateway::Gateway`]. Out: pages, and what people do on them.
//! Here: signing in on pages, sessions, what pages look like; one file a page. A page asks what an API asks, and changes
//! things through `people::Desk` or `admin`, so that it is in the audit.
//! Not here: operations of their own, numbers that no API has, inference.
//!
//! To add a page: 1. a line in [`table::PAGES`]; 2. a file in `pages/` (or `operator/`) with one function that gives its
//! [`maud::Markup`]; 3. its arm in `site.rs`; 4. its line in `scripts/web/pages.py`, which looks at it in a browser.

mod answer;
mod asked;
mod chart;
mod front;
mod guard;
mod layout;
mod links;
mod operator;
mod pages;
mod range;
mod session;
mod show;
mod sign_in;
mod site;
mod table;
mod visitor;

pub use front::Front;
pub use site::Site;
