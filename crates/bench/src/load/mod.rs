//! The client: sends one kind of request repeatedly, checks every answer, and measures.

mod agent;
mod drive;
mod exchange;
pub mod hold;
mod report;
mod request;

use crate::Result;
use drive::Pace;
use report::Tally;
use request::{Target, Template};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// The most concurrent requests; each has its own connection
    #[arg(short, long, default_value_t = 16)]
    connections: usize,
    #[arg(short, long, default_value_t = 3.0)]
    seconds: f64,
    /// Stop after this many requests, even before the time is over
    #[arg(long)]
    count: Option<u64>,
    /// Requests per second, sent at fixed times (open loop); without it, each follows the last (closed loop)
    #[arg(long)]
    rate: Option<f64>,
}

pub async fn run(args: Args) -> Result<()> {
    let template = Rc::new(Template::new(&args.target)?);
    let tally = Rc::new(RefCell::new(Tally::default()));
    let pace = Pace {
        connections: args.connections.max(1),
        time: Duration::try_from_secs_f64(args.seconds)?,
        count: args.count.unwrap_or(u64::MAX),
    };
    let elapsed = match args.rate {
        None => drive::closed(&template, &tally, &pace).await,
        Some(rate) if rate.is_finite() && rate > 0.0 => {
            drive::open(&template, &tally, &pace, rate).await
        }
        Some(rate) => return Err(format!("--rate {rate} is not a rate").into()),
    };
    let mut report = tally.borrow().json(elapsed);
    report["loop"] = if args.rate.is_some() {
        "open"
    } else {
        "closed"
    }
    .into();
    println!("{report}");
    Ok(())
}
