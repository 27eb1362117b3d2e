use clap::Args;

use super::show;
use crate::arguments::Setup;
use crate::commands::desk;
use crate::failure::Failure;
use crate::span::Span;

#[derive(Debug, Args)]
pub struct Rotate {
    /// As `ostia key list` shows it
    id: String,
    /// How long the old key stays valid
    #[arg(long, value_name = "24h", default_value = "24h")]
    overlap: Span,
    /// How long the new key is valid [default: as long as the old one was]
    #[arg(long, value_name = "30d")]
    expires: Option<Span>,
    /// Print {"id","key","user","groups","project","expires_at","replaces","old_expires_at"}
    #[arg(long)]
    json: bool,
}

impl Rotate {
    pub async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let desk = desk::existing(setup).await?;
        let age = self.expires.map(Span::duration);
        let made = desk
            .rotate_key(&self.id, self.overlap.duration(), age)
            .await?;
        show(&made, self.json)
    }
}
