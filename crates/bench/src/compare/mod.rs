//! Compares proxies: the same load through each in turn, round after round; the results are medians.

mod cases;
mod config;
mod document;
mod machine;
pub mod process;
mod results;
mod table;
pub mod target;

use crate::Result;
use machine::Machine;
use process::{Cores, Mock};
use results::Results;
use std::path::{Path, PathBuf};
use target::Kind;

#[derive(clap::Args)]
pub struct Args {
    /// What to measure, in this order in each case of each round; without it, all that are installed
    #[arg(long, value_delimiter = ',')]
    targets: Vec<Kind>,
    /// Which cases to run; cases left out show as a dash
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "plain,stream,usage,long,32k,300k,1m,3400k,agent,paced,1000,5000,memory,streams5000"
    )]
    cases: Vec<cases::Name>,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Length of each case
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Half a second per case: for a quick look, not for results
    #[arg(long)]
    quick: bool,
    /// Put the table between the markers of this document
    #[arg(long, num_args = 0..=1, default_missing_value = "docs/PERFORMANCE.md", value_name = "FILE")]
    write: Option<PathBuf>,
    /// Keep every figure of every round in this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The ostia program
    #[arg(long, default_value = "target/release/ostia", overrides_with = "ostia")]
    ostia: PathBuf,
    /// An older build of it, measured in the same run
    #[arg(long)]
    before: Option<PathBuf>,
    /// Core of the mock and the load generator
    #[arg(long, default_value_t = 0)]
    load_core: usize,
    /// Core of the measured proxy, alone
    #[arg(long, default_value_t = 1)]
    proxy_core: usize,
}

/// What every case needs.
pub struct Site {
    mock: Mock,
    pub cores: Cores,
    ostia: PathBuf,
    before: Option<PathBuf>,
    /// A profiler and its options, if Ostia is to run under one.
    pub under: Vec<String>,
    cases: Vec<cases::Name>,
    seconds: f64,
    /// Configurations, databases and logs; removed at the end.
    pub folder: tempfile::TempDir,
}

impl Site {
    /// A place to run Ostia in, without cases to measure and without cores of its own.
    pub async fn start(ostia: &Path) -> Result<Self> {
        Self::on(Cores::any(), ostia).await
    }

    async fn on(cores: Cores, ostia: &Path) -> Result<Self> {
        Ok(Self {
            mock: Mock::start(&cores).await?,
            cores,
            ostia: std::path::absolute(ostia)?,
            before: None,
            under: Vec::new(),
            cases: Vec::new(),
            seconds: 0.0,
            folder: tempfile::Builder::new().prefix("bench-").tempdir()?,
        })
    }
}

pub async fn run(args: Args) -> Result<()> {
    let cores = Cores::choose(args.load_core, args.proxy_core);
    let site = Site {
        cases: args.cases,
        seconds: if args.quick { 0.5 } else { args.seconds },
        before: args.before.map(std::path::absolute).transpose()?,
        ..Site::on(cores, &args.ostia).await?
    };
    let mut targets = match args.targets.is_empty() {
        true => Kind::installed(),
        false => args.targets,
    };
    if site.before.is_some() && !targets.contains(&Kind::Before) {
        targets.push(Kind::Before);
    }
    let mut results = Results::default();
    let machine = Machine::now();
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        cases::round(&site, &targets, &mut results).await?;
    }
    let caption = table::caption(&targets, &site, args.rounds);
    let table = format!(
        "{caption} {}\n\n{}",
        machine.since(),
        table::markdown(&targets, &results)
    );
    println!("{table}");
    if let Some(file) = args.json {
        std::fs::write(file, format!("{:#}\n", results.json()))?;
    }
    if !results.problems.is_empty() {
        // A proxy that drops requests is cheap, so its figures must not get into a document.
        return Err(format!(
            "not every request was answered:\n  {}",
            results.problems.join("\n  ")
        )
        .into());
    }
    match args.write {
        Some(file) => document::update(&file, &table),
        None => Ok(()),
    }
}
