use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::output::print;

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell to write completions for
    shell: Shell,
}

impl Completions {
    pub fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "ostia", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}
