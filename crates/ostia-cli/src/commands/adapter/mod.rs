//! `ostia adapter test`: runs one script on one recorded request, through a gateway in this process.

mod recorder;
mod request;
mod site;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ostia::script::Program;
use serde_json::Value;

use super::web::{Answer, Page, parse_private};
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::print;
use crate::runtime;
use crate::table::printable;
use recorder::{Recorder, Seen};
use request::Recorded;
use site::Site;

#[derive(Debug, Subcommand)]
pub enum Adapter {
    /// Run a script on a recorded request, and print what the backend and the client would get
    Test(Test),
}

#[derive(Debug, Args)]
#[command(
    after_help = "A recorded request is a JSON object; every key is optional:\n  \
                  api, user, groups, headers, body: what the client sends; \
                  config, secrets: the endpoint's config, and values of the variables that it lists as secrets; \
                  state: running, queued or stopped, for model_state(); \
                  http: answers to the script's own calls, such as {\"GET /status\": {\"status\": 200, \"body\": {}}}; \
                  answer: the backend's, with status, headers and body; \
                  models: for a script with jobs(ctx), the models of the cluster.\n\
                  Nothing outside this machine is called. What the script logs is on stderr. The exit code is 1 where the \
                  script fails; a refusal by the script is not a failure."
)]
pub struct Test {
    /// The script
    #[arg(value_name = "FILE")]
    script: PathBuf,
    /// The recorded request [default: a short chat]
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Ask for a stream, whatever the request says
    #[arg(long)]
    stream: bool,
}

impl Adapter {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let Self::Test(test) = self;
        test.run(setup)
    }
}

impl Test {
    fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let mut recorded = match &self.request {
            Some(path) => Recorded::parse(&read(path)?)
                .map_err(|fault| Failure::usage(format!("{}: {fault}", path.display())))?,
            None => Recorded::default(),
        };
        if self.stream {
            recorded.body["stream"] = true.into();
        }
        let shown = self.script.display().to_string();
        let program = Program::compile(&shown, &read(&self.script)?)
            .map_err(|error| Failure::config(error.to_string()))?;
        let script = std::path::absolute(&self.script)
            .map_err(|error| Failure::other(format!("{shown}: {error}")))?;
        runtime::run(async {
            let recorder = Recorder::start(&recorded).await?;
            let site = Site::start(setup, &recorded, &script, &program, &recorder).await?;
            let answer = site.call(&recorded).await;
            site.stop().await;
            let answer = answer?;
            print(&told(&recorder.seen(), &answer))?;
            failed(&answer)
        })
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn told(seen: &[Seen], answer: &Answer) -> String {
    let mut text = String::new();
    let (sent, asked): (Vec<&Seen>, Vec<&Seen>) = seen.iter().partition(|one| one.is_request());
    for one in asked {
        text.push_str(&format!("The script called {}\n", one.line()));
    }
    for one in &sent {
        text.push_str(&format!("Sent to the backend:\n\n{}\n", one.whole()));
    }
    if sent.is_empty() {
        text.push_str("Nothing is sent to the backend.\n");
    }
    text.push_str(&format!(
        "\nThe client gets:\n\n{}\n",
        answer.status.as_u16()
    ));
    for (name, value) in &answer.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        text.push_str(&format!("{name}: {}\n", printable(&value)));
    }
    text.push_str(&format!("\n{}\n", answer.text().trim_end()));
    text
}

/// A fault of the script itself.
fn failed(answer: &Answer) -> Result<(), Failure> {
    let body = answer.json().unwrap_or_default();
    let code = body["error"]["code"].as_str().unwrap_or_default();
    match code {
        "adapter_error" | "failed_to_get_cluster_jobs" => Err(Failure::other(
            "the script failed: the log above says where and why",
        )),
        _ => Ok(()),
    }
}

impl Site {
    async fn call(&self, recorded: &Recorded) -> Result<Answer, Failure> {
        let page = Page {
            bearer: Some(self.key().clone()),
            headers: recorded.headers.clone(),
            body: (!self.asks_for_jobs()).then(|| Value::clone(&recorded.body)),
            ..Page::default()
        };
        let url = parse_private(&self.url(recorded))?;
        match self.asks_for_jobs() {
            true => page.get(&url).await,
            false => page.post(&url).await,
        }
    }
}
