//! Many open streams or idle connections, to measure how much memory each costs.

use super::exchange::Connection;
use super::request::{Target, Template};
use crate::Result;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    #[arg(short, long, default_value_t = 1000)]
    connections: usize,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Prints one line of JSON when all are open, then reads until it is killed. A plain request is answered and its
/// connection kept open; a stream counts as open once its first bytes have arrived.
pub async fn run(args: Args) -> Result<()> {
    let template = Template::new(&args.target)?;
    let mut connections = Vec::new();
    let opening = async {
        for _ in 0..args.connections {
            let mut connection = Connection::new(template.addr);
            let answer = connection.send(&template).await?;
            if answer.status() != StatusCode::OK {
                return Err(format!("status {}", answer.status().as_u16()));
            }
            let mut body = answer.into_body();
            body.frame()
                .await
                .ok_or("empty answer")?
                .map_err(|error| error.to_string())?;
            tokio::task::spawn_local(drain(body));
            connections.push(connection);
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(args.seconds), opening).await??;
    println!("{}", serde_json::json!({"open": connections.len()}));
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    Ok(())
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
