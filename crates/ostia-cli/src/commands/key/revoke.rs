use clap::Args;

use crate::arguments::{Setup, person};
use crate::commands::desk;
use crate::failure::Failure;
use crate::output::note;

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Revoke {
    /// As `ostia key list` shows it
    id: Option<String>,
    /// Revoke every key of this user, by whichever of their names
    #[arg(long, value_name = "NAME@DOMAIN", value_parser = person)]
    user: Option<String>,
}

impl Revoke {
    pub async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let desk = desk::existing(setup).await?;
        if let Some(user) = &self.user {
            let revoked = desk.revoke_keys_of(user).await?;
            for id in &revoked {
                note(&format!("Key {id} is revoked."));
            }
            note(&match revoked.len() {
                0 => "There was no key to revoke.".to_owned(),
                count => {
                    format!("{count} revoked; a running gateway refuses them within a second.")
                }
            });
            return Ok(());
        }
        let Some(id) = &self.id else {
            return Err(Failure::usage("name a key, or --user"));
        };
        note(&match desk.revoke_key(id).await? {
            true => format!("Key {id} is revoked; a running gateway refuses it within a second."),
            false => format!("Key {id} was revoked before."),
        });
        Ok(())
    }
}
