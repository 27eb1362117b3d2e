//! `ostia serve`: from the configuration to a gateway that listens, and to its end.

mod announce;
mod demo;
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use ostia::boot::{Parts, Running, StartError};
use ostia::config::{Loaded, Severity};
use ostia::fleet::Fleet;
use ostia::settings::Settings;
use ostia_core::SystemClock;

use super::load::{load, store};
use crate::arguments::Global;
use crate::failure::{Failure, chain};
use crate::runtime;
use demo::Demo;
use signals::Signals;

#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen instead of `server.listen`: 127.0.0.1:8000, [::]:8000 or unix:/path
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<String>,
    /// Start only if the configuration has no error at all
    #[arg(long)]
    strict: bool,
    /// Try it out: a simulated model, a temporary store and one key; nothing else is read or needed
    #[arg(long, conflicts_with = "strict")]
    demo: bool,
    /// How fast the simulated model writes; 0 is without waiting
    #[arg(long, requires = "demo", value_name = "N", default_value_t = 25)]
    demo_tokens_per_second: u32,
}

impl Serve {
    pub fn run(&self, global: &Global) -> Result<(), Failure> {
        runtime::run(self.serve(global))
    }

    async fn serve(&self, global: &Global) -> Result<(), Failure> {
        let mut signals = Signals::listen()
            .map_err(|error| Failure::other(format!("signals cannot be handled: {error}")))?;
        let (demo, running) = tokio::select! {
            biased;
            signal = signals.stop() => {
                tracing::info!(signal, "stopped before anything was served");
                return Ok(());
            }
            started = self.start(global) => started?,
        };
        announce::ready(&running);
        if let Some(demo) = &demo {
            demo.announce(&running)?;
        }
        let signal = signals.stop().await;
        announce::stopping(&running, signal);
        let in_time = running
            .shut_down(async {
                let signal = signals.stop().await;
                tracing::warn!(signal, "cutting short what is still running");
            })
            .await;
        if in_time {
            tracing::info!("stopped");
            return Ok(());
        }
        Err(Failure::other(
            "stopped before all requests were answered: the rest was cut off, and is in the ledger as interrupted",
        ))
    }

    async fn start(&self, global: &Global) -> Result<(Option<Demo>, Running), Failure> {
        if !self.demo {
            let parts = self.parts(global).await?;
            let running = Running::start(parts).await;
            return Ok((None, running.map_err(|error| not_started(&error))?));
        }
        if global.config.is_some() || !global.env_files.is_empty() {
            return Err(Failure::usage(
                "--demo reads no files: leave out --config and --env-file, or --demo",
            ));
        }
        let (demo, running) =
            Demo::start(self.listen.as_deref(), self.demo_tokens_per_second).await?;
        Ok((Some(demo), running))
    }

    /// Everything that can be wrong before a socket is opened.
    async fn parts(&self, global: &Global) -> Result<Parts, Failure> {
        let fleet = Arc::<Fleet>::default();
        let loaded = load(global, self.listen.as_deref(), &fleet);
        log_problems(&loaded);
        let fatal = loaded.fatal(self.strict);
        let errors = loaded.errors().count();
        let (Some(settings), false) = (loaded.settings, fatal) else {
            let strict = if self.strict { " and --strict" } else { "" };
            return Err(Failure::config(format!(
                "not started, for {errors} error(s) in the configuration{strict}: `ostia check` shows all of them"
            )));
        };
        warn_of_what_is_not_served(&settings);
        let store = store(settings.store.url.expose()).await?;
        Ok(Parts {
            settings,
            catalog: loaded.catalog,
            fleet,
            store,
            clock: Arc::new(SystemClock),
            limiter: None,
            disk: None,
        })
    }
}

fn log_problems(loaded: &Loaded) {
    for problem in &loaded.problems {
        let (place, text) = (&problem.place, &problem.text);
        match problem.severity {
            Severity::Error => tracing::error!("{place}: {text}"),
            Severity::Warning => tracing::warn!("{place}: {text}"),
            Severity::Info => tracing::info!("{place}: {text}"),
        }
    }
}

fn warn_of_what_is_not_served(settings: &Settings) {
    if settings.limits.shared.is_some() {
        tracing::warn!("limits.shared is not served yet: limits hold in this process alone");
    }
    if !settings.telemetry.otlp_endpoint.is_empty() {
        tracing::warn!("telemetry.otlp_endpoint is not served yet: no traces are sent");
    }
    if settings.telemetry.log_prompts {
        tracing::warn!("telemetry.log_prompts is not served yet: prompts are never logged");
    }
}

fn not_started(error: &StartError) -> Failure {
    let text = chain(error);
    match error {
        StartError::Listen { .. } => Failure::other(format!(
            "{text}: stop what is there, or choose another address (server.listen or --listen; server.admin_listen)"
        )),
        StartError::Unusable(_) => Failure::config(text),
        StartError::Ledger(_) => {
            Failure::other(format!("{text} (the folder is in server.state_dir)"))
        }
    }
}

/// What the configuration would say of it, but as a word of the command line.
fn address(text: &str) -> Result<String, String> {
    let path = text.strip_prefix("unix:");
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    let sound = match path {
        Some(path) => !path.is_empty(),
        None => numeric.parse::<SocketAddr>().is_ok(),
    };
    match sound {
        true => Ok(text.to_owned()),
        false => Err("write 127.0.0.1:8000, [::]:8000 or unix:/path".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_of_the_command_line() {
        for sound in [
            "127.0.0.1:8000",
            "[::]:0",
            "localhost:80",
            "unix:/run/ostia.sock",
        ] {
            assert!(address(sound).is_ok(), "{sound}");
        }
        for wrong in ["", "8000", ":8000", "example.org:80", "unix:", "env:ADDR"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
