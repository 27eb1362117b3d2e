//! `ostia serve --demo` and `ostia serve --backend`: a temporary installation, and commands to paste.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ostia::boot::{Running, StartError};
use ostia::config::Environment;
use ostia::demo::{self, MODELS, Pace, write_site};
use ostia::fleet::Fleet;
use ostia::settings::ListenAddress;
use ostia_core::{Secret, SystemClock};

use super::not_started;
use crate::arguments::Setup;
use crate::commands::init::{Backends, Found, render};
use crate::commands::load::variable;
use crate::commands::trial::{Holder, Trial, any_port};
use crate::failure::{Failure, chain};
use crate::output::print;

const USUAL: ([u8; 4], u16) = ([127, 0, 0, 1], 8000);
const USER: &str = "demo@localhost";

/// What must live as long as the gateway, and what to print about it.
pub(super) struct Demo {
    trial: Trial,
    served: Served,
}

/// What a temporary installation serves.
pub(super) enum Served {
    Simulated(demo::Demo),
    Found {
        backends: Vec<Found>,
        /// Contains the backends' key.
        variables: Environment,
    },
}

impl Served {
    pub(super) async fn simulated(tokens_per_second: u32) -> Result<Self, Failure> {
        let pace = Pace::tokens_per_second(tokens_per_second);
        let engine = demo::Demo::start(pace, Arc::new(SystemClock)).await;
        engine.map(Self::Simulated).map_err(|error| {
            let why = chain(&error);
            Failure::other(format!("the simulated backend does not start: {why}"))
        })
    }

    /// Asks backends for their models.
    pub(super) async fn found(setup: &Setup, asked: &Backends) -> Result<Self, Failure> {
        let backends = asked.ask(setup).await?;
        let mut variables = Vec::new();
        if let Some(name) = &asked.key_env {
            let key = variable(setup, name)?;
            variables.push((name.clone(), key.expose().clone()));
        }
        let variables = variables.into_iter().collect();
        Ok(Self::Found {
            backends,
            variables,
        })
    }

    /// Writes the configuration, and returns its path.
    fn write(&self, trial: &Trial) -> Result<PathBuf, Failure> {
        match self {
            Self::Simulated(engine) => write_site(engine, trial.folder()).map_err(|error| {
                let why = chain(&error);
                Failure::other(format!("the temporary folder cannot be written: {why}"))
            }),
            Self::Found { backends, .. } => trial.write("ostia.toml", &render(backends)),
        }
    }

    fn variables(&self) -> Environment {
        match self {
            Self::Simulated(_) => Environment::default(),
            Self::Found { variables, .. } => variables.clone(),
        }
    }

    /// The model for the commands to paste.
    fn model(&self) -> &str {
        match self {
            Self::Simulated(_) => demo::MODEL,
            Self::Found { backends, .. } => {
                let mut models = backends.iter().flat_map(|found| &found.models);
                models.next().map_or("", String::as_str)
            }
        }
    }
}

impl Demo {
    /// Listens on the address given, or else on the usual one, or on any port if that is taken.
    pub(super) async fn start(
        setup: &Setup,
        listen: Option<&str>,
        served: Served,
    ) -> Result<(Self, Running), Failure> {
        let listen = listen.map(port).transpose()?;
        let usual = ListenAddress::Tcp(listen.unwrap_or_else(|| USUAL.into()));
        let (trial, started) = Self::try_start(setup, &served, usual).await?;
        let (trial, started) = match started {
            Err(StartError::Listen { .. }) if listen.is_none() => {
                drop(trial);
                Self::try_start(setup, &served, any_port()).await?
            }
            started => (trial, started),
        };
        let running = started.map_err(|error| not_started(&error))?;
        Ok((Self { trial, served }, running))
    }

    async fn try_start(
        setup: &Setup,
        served: &Served,
        listen: ListenAddress,
    ) -> Result<(Trial, Result<Running, StartError>), Failure> {
        let holder = Holder {
            username: USER.to_owned(),
            groups: Vec::new(),
        };
        let trial = Trial::new(holder).await?;
        let config = served.write(&trial)?;
        let fleet = Arc::<Fleet>::default();
        let (mut settings, catalog) = trial.load(setup, config, served.variables(), &fleet)?;
        // On loopback, for anybody who has the link.
        settings.web.enabled = true;
        let started = trial.serve(setup, settings, catalog, fleet, listen).await;
        Ok((trial, started))
    }

    /// Prints commands to paste, on stdout.
    pub(super) fn announce(&self, running: &Running) -> Result<(), Failure> {
        match running.address() {
            Some(address) => {
                let url = format!("http://{address}");
                let link = running.site().link(self.trial.key.expose());
                let page = format!("{url}{}", link.as_deref().unwrap_or("/ui"));
                print(&hints(&url, &page, &self.trial.key, &self.served))
            }
            None => Ok(()),
        }
    }
}

fn port(listen: &str) -> Result<SocketAddr, Failure> {
    let numeric = listen.replacen("localhost:", "127.0.0.1:", 1);
    numeric.parse().map_err(|_| {
        Failure::usage("the lines to paste need a port: --listen 127.0.0.1:8000, for example")
    })
}

fn hints(url: &str, page: &str, key: &Secret<String>, served: &Served) -> String {
    let key = key.expose();
    let model = served.model();
    let what = match served {
        Served::Simulated(_) => "a simulated model".to_owned(),
        Served::Found { backends, .. } => {
            let urls: Vec<&str> = backends.iter().map(|found| &*found.api_url).collect();
            urls.join(", ")
        }
    };
    let body =
        serde_json::json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]});
    let body = in_shell(&body.to_string());
    let script = format!(
        "from openai import OpenAI; print(OpenAI().chat.completions.create(model={model:?}, \
         messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}]).choices[0].message.content)"
    );
    let script = in_shell(&script);
    let mut text = format!(
        "Ostia serves {what} at {url}. It ends with Ctrl-C or with this terminal, and leaves nothing behind.\n\n\
         Its pages, by a link that works once: {page}\n\n\
         curl {url}/v1/chat/completions -H \"Authorization: Bearer {key}\" -d {body}\n\n\
         With an OpenAI client (add \"stream\": true above to see tokens arrive one by one):\n\n\
         export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key}\npython3 -c {script}\n\nModels:\n"
    );
    match served {
        Served::Simulated(_) => {
            for model in &MODELS {
                text.push_str(&format!("  {:<22} {}\n", model.name, model.what));
            }
        }
        Served::Found { backends, .. } => {
            for model in backends.iter().flat_map(|found| &found.models) {
                text.push_str(&format!("  {model}\n"));
            }
            text.push_str("To keep this: ostia init --backend URL\n");
        }
    }
    text.push_str(&format!(
        "\nA coding agent (codex, claude, opencode, qwen, pi, aider, goose, continue; --undo takes it back):\n\n\
         OSTIA_API_KEY={key} ostia agent configure codex --url {url}\n\nRoutes: {url}/docs\n"
    ));
    text
}

/// Quotes a text as one shell word.
fn in_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_line_is_one_line_with_the_key_in_it() {
        let backends = vec![Found {
            models: vec!["it's \"a\"".to_owned()],
            ..Found::example()
        }];
        let variables = Environment::default();
        let served = Served::Found {
            backends,
            variables,
        };
        let key = Secret::new("sk-ostia-x".to_owned());
        let text = hints("http://127.0.0.1:1", "http://127.0.0.1:1/ui", &key, &served);
        let line = text.lines().find(|line| line.starts_with("curl ")).unwrap();
        assert!(
            line.contains("Bearer sk-ostia-x\"") && line.ends_with("}'"),
            "{line}"
        );
        assert!(line.contains(r#""model":"it'\''s \"a\"""#), "{line}");
    }

    #[test]
    fn a_socket_that_nothing_can_be_pasted_for_is_refused() {
        assert!(port("unix:/tmp/socket").is_err());
        assert_eq!(port("localhost:80").unwrap().port(), 80);
    }
}
