//! `ostia serve`: from the configuration to a gateway that listens, and to its end.

mod announce;
mod demo;
mod handover;
mod signals;
mod terminal;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ostia::boot::{Parts, Running, StartError};
use ostia::config::{Loaded, Severity};
use ostia::fleet::Fleet;
use ostia::gateway::ReloadRefused;
use ostia::live::{Files, ReadFiles};
use ostia::runtime::spawn_blocking;
use ostia::settings::Settings;
use ostia_core::{Store, StoreError, SystemClock};

use super::init::Backends;
use super::load::{load, store};
use crate::arguments::Setup;
use crate::failure::{Failure, chain};
use crate::runtime;
use demo::{Demo, Served};
use signals::{Signals, Wish};
use terminal::Terminal;

/// How long the start waits for the database.
const REACHED: Duration = Duration::from_secs(5);
const DRAIN: &str = "ostia drain";
const TERMINAL_CLOSED: &str = "its terminal closed";

#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen instead of `server.listen`: 127.0.0.1:8000, [::]:8000 or unix:/path
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<String>,
    /// Start only if the configuration has no error at all
    #[arg(long, conflicts_with_all = ["demo", "urls"])]
    strict: bool,
    /// Try it out: a simulated model, a temporary database and one key; reads no file
    #[arg(long, conflicts_with = "urls")]
    demo: bool,
    /// How fast the simulated model writes; 0 means without a pause
    #[arg(long, requires = "demo", value_name = "N", default_value_t = 25)]
    demo_tokens_per_second: u32,
    #[command(flatten)]
    backends: Backends,
}

impl Serve {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        runtime::run(self.serve(setup))
    }

    async fn serve(&self, setup: &Setup) -> Result<(), Failure> {
        let temporary = self.demo || !self.backends.is_empty();
        let mut terminal = temporary.then(Terminal::watch);
        let mut signals = Signals::listen(temporary && Terminal::ends_on_hangup())
            .map_err(|error| Failure::other(format!("signals cannot be handled: {error}")))?;
        let (demo, running) = tokio::select! {
            biased;
            signal = ended(&mut signals, &mut terminal) => {
                tracing::info!(signal, "stopped before anything was served");
                return Ok(());
            }
            started = self.start(setup) => started?,
        };
        announce::ready(&running);
        announce::keep_watched();
        if let Some(demo) = &demo {
            demo.announce(&running)?;
        }
        let end = serve_until_ended(&running, &mut signals, &mut terminal, temporary).await;
        let grace = match &end {
            End::Asked(signal) => {
                let grace = grace(&running, signal, temporary);
                announce::stopping(&running, signal, grace);
                grace
            }
            End::TakenOver(pid) => {
                announce::taken_over(*pid);
                // Whoever stops the service sends this one signal to both processes.
                signals.skip_one_stop();
                Duration::ZERO
            }
        };
        let in_time = running
            .shut_down(grace, async {
                let signal = signals.stop().await;
                tracing::warn!(signal, "cutting off what is still running");
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

    async fn start(&self, setup: &Setup) -> Result<(Option<Demo>, Running), Failure> {
        let listen = self.listen.as_deref();
        if self.demo {
            if setup.global.config.is_some() || !setup.global.env_files.is_empty() {
                return Err(Failure::usage(
                    "--demo reads no files: leave out --config and --env-file, or --demo",
                ));
            }
            let served = Served::simulated(self.demo_tokens_per_second).await?;
            let (demo, running) = Demo::start(setup, listen, served).await?;
            return Ok((Some(demo), running));
        }
        if !self.backends.is_empty() {
            if setup.global.config.is_some() {
                return Err(Failure::usage(
                    "--backend takes the place of a configuration: leave out --config, or --backend",
                ));
            }
            let served = Served::found(setup, &self.backends).await?;
            let (demo, running) = Demo::start(setup, listen, served).await?;
            return Ok((Some(demo), running));
        }
        let parts = self.parts(setup).await?;
        let running = Running::start_with(parts, setup.adapters.registry().clone()).await;
        Ok((None, running.map_err(|error| not_started(&error))?))
    }

    /// Everything that can be wrong before a socket is opened.
    async fn parts(&self, setup: &Setup) -> Result<Parts, Failure> {
        let fleet = Arc::<Fleet>::default();
        let loaded = load(setup, self.listen.as_deref(), &fleet);
        log_problems(&loaded);
        let fatal = loaded.fatal(self.strict);
        let errors = loaded.errors().count();
        let files = Files::new(&loaded, self.strict, reader(setup, self.listen.clone()));
        let (Some(settings), false) = (loaded.settings, fatal) else {
            let strict = if self.strict { " and --strict" } else { "" };
            return Err(Failure::config(format!(
                "not started because of {errors} error(s) in the configuration{strict}: `ostia check` lists all of them"
            )));
        };
        let store = store(settings.store.url.expose()).await?;
        reach(&*store, &settings).await?;
        Ok(Parts {
            settings,
            catalog: loaded.catalog,
            fleet,
            store,
            clock: Arc::new(SystemClock),
            limiter: None,
            disk: None,
            files: Some(files),
            sockets: handover::sockets()?,
        })
    }
}

/// A gateway starts without its database: readiness says so until it is reached, and the journal keeps the rows. One that
/// answers and does not fit is refused.
async fn reach(store: &dyn Store, settings: &Settings) -> Result<(), Failure> {
    let zone = &settings.reports.timezone;
    let answer = tokio::time::timeout(REACHED, store.keep_reports_in(zone));
    match answer
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("it does not answer".into())))
    {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "reports.timezone is {zone}, and the sums of the rows that are there are not: run `ostia db migrate`"
        ),
        Err(StoreError::Unavailable(error)) => {
            tracing::warn!(
                error,
                "the database is not reached yet; rows wait in the journal"
            );
        }
        Err(StoreError::Broken(text)) => {
            return Err(Failure::other(format!("cannot use the database: {text}")));
        }
    }
    Ok(())
}

/// Reads the files as they were read at the start.
fn reader(setup: &Setup, listen: Option<String>) -> ReadFiles {
    let setup = setup.clone();
    Box::new(move |fleet| load(&setup, listen.as_deref(), fleet))
}

/// Waits for what ends the process before it serves, and names it.
async fn ended(signals: &mut Signals, terminal: &mut Option<Terminal>) -> &'static str {
    tokio::select! {
        signal = signals.stop() => signal,
        () = closed(terminal) => TERMINAL_CLOSED,
    }
}

/// Why a process does not serve any more.
enum End {
    /// By a signal or a command; with its name.
    Asked(&'static str),
    /// By this process.
    TakenOver(u32),
}

/// Serves until something ends that.
async fn serve_until_ended(
    running: &Running,
    signals: &mut Signals,
    terminal: &mut Option<Terminal>,
    temporary: bool,
) -> End {
    loop {
        let gateway = running.gateway();
        let mut asked = None;
        let upgrade_asked = async {
            match temporary {
                true => std::future::pending().await,
                false => gateway.upgrade_asked().await,
            }
        };
        let wish = tokio::select! {
            wish = signals.next() => wish,
            () = gateway.stop_asked() => Wish::Stop(DRAIN),
            () = closed(terminal) => Wish::Stop(TERMINAL_CLOSED),
            wish = upgrade_asked => {
                asked = Some(wish);
                Wish::Upgrade
            }
        };
        match wish {
            Wish::Stop(signal) => return End::Asked(signal),
            Wish::Reload => reload(running).await,
            Wish::Upgrade if temporary => {
                tracing::warn!("SIGUSR2: a temporary gateway is not replaced");
            }
            Wish::Upgrade => {
                let handing = handover::hand_over(running, asked);
                tokio::pin!(handing);
                loop {
                    tokio::select! {
                        taken = &mut handing => match taken {
                            Some(pid) => return End::TakenOver(pid),
                            None => break,
                        },
                        wish = signals.next() => match wish {
                            // The process that was started is ended too.
                            Wish::Stop(signal) => return End::Asked(signal),
                            Wish::Reload | Wish::Upgrade => {
                                tracing::info!("another process is about to take over");
                            }
                        },
                    }
                }
            }
        }
    }
}

/// How long it goes on listening. Whoever presses Ctrl-C has no load balancer in front.
fn grace(running: &Running, signal: &str, temporary: bool) -> Duration {
    match temporary || matches!(signal, "SIGINT" | TERMINAL_CLOSED) {
        true => Duration::ZERO,
        false => running.gateway().live().settings.server.drain_grace,
    }
}

/// What comes of it stands in the log and in readiness.
async fn reload(running: &Running) {
    announce::reloading();
    let gateway = Arc::clone(running.gateway());
    // A panic was logged where it happened.
    let outcome = spawn_blocking(move || gateway.reload(false)).await;
    if matches!(outcome, Ok(Err(ReloadRefused::NoFiles))) {
        tracing::info!("SIGHUP: this site was not read from files, so nothing is reloaded");
    }
    announce::reloaded();
}

async fn closed(terminal: &mut Option<Terminal>) {
    match terminal {
        Some(terminal) => terminal.closed().await,
        None => std::future::pending().await,
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

pub(super) fn not_started(error: &StartError) -> Failure {
    let text = chain(error);
    match error {
        StartError::Listen { .. } => Failure::other(format!(
            "{text}: stop what is there, or choose another address (server.listen or --listen; server.admin_listen)"
        )),
        StartError::Unusable(_) | StartError::Shared(_) => Failure::config(text),
        StartError::Token(_) => Failure::other(text),
        StartError::Ledger(_) => {
            Failure::other(format!("{text} (the folder is in server.state_dir)"))
        }
    }
}

/// Checks an address of the command line as the configuration would.
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
