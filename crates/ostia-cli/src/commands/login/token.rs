use clap::Args;
use ostia_core::{Clock as _, SystemClock};

use super::file::{Saved, TokenFile};
use super::{authority, web};
use crate::failure::Failure;
use crate::output::print;
use crate::runtime;

/// A token that expires within this time is refreshed first, so that there is time to use it.
const SOON: i64 = 60 * 1_000_000;

#[derive(Debug, Args)]
pub struct Token {}

impl Token {
    pub fn run(&self) -> Result<(), Failure> {
        runtime::run(async {
            let saved = current(&TokenFile::find()?).await?;
            print(&format!("{}\n", saved.access_token.expose()))
        })
    }
}

/// The saved tokens, refreshed if necessary.
pub(super) async fn current(file: &TokenFile) -> Result<Saved, Failure> {
    let _lock = file.lock()?;
    let signed_out = || Failure::other("nobody is signed in: `ostia login`");
    let mut saved = file.read()?.ok_or_else(signed_out)?;
    let now = SystemClock.unix_micros();
    if saved
        .expires_at
        .is_none_or(|end| end > now.saturating_add(SOON))
    {
        return Ok(saved);
    }
    let Some(refresh) = saved.refresh_token.clone() else {
        return match saved.expires_at {
            Some(end) if end > now => Ok(saved),
            _ => Err(Failure::other("the token has expired: `ostia login`")),
        };
    };
    let said = authority::refresh(&*web(), &saved, refresh.expose()).await;
    let said = said.map_err(|error| {
        let text = error.text();
        Failure::other(format!(
            "the token could not be refreshed ({text}): `ostia login`"
        ))
    })?;
    saved.take(&said, now)?;
    file.write(&saved)?;
    Ok(saved)
}
