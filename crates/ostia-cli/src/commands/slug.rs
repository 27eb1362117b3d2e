use clap::Args;

use crate::failure::Failure;
use crate::output::print;

/// Names that begin with `-` are taken literally; put `--` before a name that is an option, such as `--help`.
#[derive(Debug, Args)]
pub struct Slug {
    /// As in `cluster_name`
    #[arg(allow_hyphen_values = true)]
    cluster: String,
    /// As in `framework`
    #[arg(allow_hyphen_values = true)]
    framework: String,
    /// As in `model`
    #[arg(allow_hyphen_values = true)]
    model: String,
}

impl Slug {
    pub fn run(&self) -> Result<(), Failure> {
        let slug = ostia::catalog::slug(&self.cluster, &self.framework, &self.model);
        print(&format!("{slug}\n"))
    }
}
