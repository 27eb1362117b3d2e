use clap::Args;
use http::Method;

use super::admin::ask;
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::print;

#[derive(Debug, Args)]
pub struct Upgrade {}

impl Upgrade {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let told = ask(setup, Method::POST, "/admin/upgrade", None)?;
        let pid = &told["pid"];
        print(&format!(
            "process {pid} has taken over; the old one answers what it had begun, and ends\n"
        ))
    }
}
