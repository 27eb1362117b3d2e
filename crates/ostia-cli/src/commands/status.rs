//! `ostia status`: the running gateway as a table, or as one line for a monitoring system.

use std::collections::BTreeMap;

use clap::Args;
use http::Method;
use ostia::admin::{EndpointReport, Page};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::admin::ask;
use crate::arguments::Setup;
use crate::failure::{Exit, Failure};
use crate::output::{Look, print};
use crate::table::Table;

#[derive(Debug, Args)]
pub struct Status {
    /// One line and the exit code of a monitoring plugin: 0 OK, 1 warning, 2 critical, 3 unknown
    #[arg(long, conflicts_with = "json")]
    check: bool,
    /// Print everything as JSON, for programs
    #[arg(long)]
    json: bool,
}

struct Seen {
    process: Value,
    endpoints: Vec<EndpointReport>,
}

impl Status {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        if self.check {
            return check(setup);
        }
        let seen = Seen::look(setup)?;
        if self.json {
            let all = json!({"process": seen.process, "endpoints": seen.endpoints});
            return print(&format!("{all:#}\n"));
        }
        print(&seen.render(Look::of_stdout()))
    }
}

impl Seen {
    fn look(setup: &Setup) -> Result<Self, Failure> {
        let process = ask(setup, Method::GET, "/admin/status", None)?;
        let mut endpoints = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/admin/endpoints?limit=1000&after={after}");
            let value = ask(setup, Method::GET, &path, None)?;
            let page: Page<EndpointReport> = serde_json::from_value(value)
                .map_err(|error| Failure::other(format!("the gateway's answer: {error}")))?;
            endpoints.extend(page.data);
            match page.last.filter(|_| page.has_more) {
                Some(last) => after = utf8_percent_encode(&last, NON_ALPHANUMERIC).to_string(),
                None => return Ok(Self { process, endpoints }),
            }
        }
    }

    fn render(&self, look: Look) -> String {
        let process = &self.process;
        let ready = &process["ready"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let state = match ready["draining"] == true {
            true => "draining".to_owned(),
            false => word(&ready["status"]),
        };
        let mut text = format!(
            "ostia {} (process {}), up {}, {}, generation {}\n{} connection(s), {} request(s), {} waiting\n",
            word(&process["version"]),
            process["pid"],
            age(process["uptime_seconds"].as_u64().unwrap_or_default()),
            state,
            ready["generation"],
            process["connections"],
            process["requests"],
            process["waiting"],
        );
        if let Some(fault) = ready["reload"]["refused"].as_str() {
            text.push_str(&format!("the last reload was refused: {fault}\n"));
        }
        text.push('\n');
        let headings = [
            "ENDPOINT",
            "MODEL",
            "!STATE",
            ">IN FLIGHT",
            ">?MAX",
            ">?OK",
            ">?FAILED",
            ">?MEAN",
        ];
        let mut table = Table::new(headings);
        for endpoint in &self.endpoints {
            let count = |outcome: &str| endpoint.requests.get(outcome).copied().unwrap_or_default();
            let failed = count("upstream_error") + count("upstream_timeout");
            let max = match endpoint.max_in_flight {
                0 => String::new(),
                max => max.to_string(),
            };
            let mean = endpoint.mean_duration_ms.map(|mean| format!("{mean} ms"));
            table.row([
                endpoint.slug.clone(),
                endpoint.model.clone(),
                endpoint.state.clone(),
                endpoint.in_flight.to_string(),
                max,
                count("ok").to_string(),
                failed.to_string(),
                mean.unwrap_or_default(),
            ]);
            table.note(endpoint.reason.as_deref().unwrap_or_default());
        }
        text.push_str(&table.render(look));
        text
    }

    /// What is wrong, the worst first.
    fn judge(&self) -> (Exit, Vec<String>) {
        let ready = &self.process["ready"];
        let mut critical = Vec::new();
        let mut warnings = Vec::new();
        match ready["status"].as_str() {
            Some("ok") => {}
            Some("degraded") => warnings.push(degraded(ready)),
            _ => critical.push("the gateway is not ready".to_owned()),
        }
        let mut models: BTreeMap<&str, bool> = BTreeMap::new();
        for endpoint in &self.endpoints {
            *models.entry(&endpoint.model).or_default() |= endpoint.serves();
            if !matches!(&*endpoint.state, "served" | "maintenance") {
                warnings.push(format!("{} is {}", endpoint.slug, endpoint.state));
            }
        }
        let in_maintenance = |model: &str| {
            let mut of_model = self.endpoints.iter().filter(|one| one.model == model);
            of_model.any(|one| one.state == "maintenance")
        };
        for (model, _) in models.iter().filter(|(_, serves)| !**serves) {
            if !in_maintenance(model) {
                critical.push(format!("no endpoint serves {model}"));
            }
        }
        let exit = match (critical.is_empty(), warnings.is_empty()) {
            (false, _) => Exit::Critical,
            (true, false) => Exit::Other,
            (true, true) => Exit::Clean,
        };
        critical.extend(warnings);
        (exit, critical)
    }
}

/// One line, the most important first, with figures after `|` as monitoring plugins print them.
fn check(setup: &Setup) -> Result<(), Failure> {
    let seen = match Seen::look(setup) {
        Ok(seen) => seen,
        Err(failure) => {
            let (word, exit) = match failure.is_config() {
                true => ("UNKNOWN", Exit::Unknown),
                false => ("CRITICAL", Exit::Critical),
            };
            let why = failure.text().lines().next().unwrap_or_default();
            print(&format!("OSTIA {word} - {why}\n"))?;
            return Err(Failure::new(exit, ""));
        }
    };
    let (exit, told) = seen.judge();
    let word = match exit {
        Exit::Clean => "OK",
        Exit::Other => "WARNING",
        _ => "CRITICAL",
    };
    let told = match told.is_empty() {
        true => format!("{} endpoint(s)", seen.endpoints.len()),
        false => told.join(", "),
    };
    let figure = |key: &str| seen.process[key].as_u64().unwrap_or_default();
    let in_flight: u32 = seen
        .endpoints
        .iter()
        .map(|endpoint| endpoint.in_flight)
        .sum();
    print(&format!(
        "OSTIA {word} - {} | connections={} requests={} waiting={} in_flight={in_flight} journal_pending={}B\n",
        told.replace('|', "/"),
        figure("connections"),
        figure("requests"),
        figure("waiting"),
        figure("journal_pending_bytes"),
    ))?;
    match exit {
        Exit::Clean => Ok(()),
        exit => Err(Failure::new(exit, "")),
    }
}

fn degraded(ready: &Value) -> String {
    let mut why = Vec::new();
    if ready["db"] == "down" {
        why.push("the database does not answer".to_owned());
    }
    if ready["reload"]["refused"].is_string() {
        why.push("the last reload was refused".to_owned());
    }
    for name in ready["failing"].as_array().into_iter().flatten() {
        why.push(format!(
            "background work fails: {}",
            name.as_str().unwrap_or_default()
        ));
    }
    match why.is_empty() {
        true => "degraded".to_owned(),
        false => why.join(", "),
    }
}

/// `3d 4h`, `5h 12m`, `7m`, `12s`.
fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(slug: &str, model: &str, state: &str) -> EndpointReport {
        let value = json!({
            "slug": slug, "cluster": "c", "framework": "f", "model": model, "state": state, "reason": null,
            "model_state": "running", "readiness": "unknown", "draining": false, "failing": false, "in_flight": 3,
            "max_in_flight": 0, "priority": 0, "weight": 1, "requests": {"ok": 12, "upstream_error": 1},
            "prompt_tokens": 1, "completion_tokens": 2, "mean_duration_ms": 1234,
        });
        serde_json::from_value(value).unwrap()
    }

    fn seen(status: &str, endpoints: Vec<EndpointReport>) -> Seen {
        let process = json!({
            "version": "1.2.3", "pid": 7, "uptime_seconds": 90_000, "connections": 1, "requests": 2, "waiting": 0,
            "ready": {"status": status, "generation": 4, "db": "up", "failing": [], "reload": "served"},
        });
        Seen { process, endpoints }
    }

    #[test]
    fn what_nobody_serves_is_critical_and_what_another_serves_a_warning() {
        for (status, states, exit) in [
            ("ok", vec![("m", "served")], Exit::Clean),
            ("ok", vec![("m", "served"), ("m", "disabled")], Exit::Other),
            (
                "ok",
                vec![("m", "served"), ("n", "disabled")],
                Exit::Critical,
            ),
            (
                "ok",
                vec![("m", "draining"), ("m", "not_ready")],
                Exit::Critical,
            ),
            ("ok", vec![("m", "failing")], Exit::Other),
            ("ok", vec![("m", "maintenance")], Exit::Clean),
            ("degraded", vec![("m", "served")], Exit::Other),
            ("unavailable", vec![("m", "served")], Exit::Critical),
        ] {
            let endpoints = states
                .iter()
                .map(|(model, state)| endpoint("e", model, state));
            let judged = seen(status, endpoints.collect()).judge();
            assert_eq!(judged.0, exit, "{states:?}: {:?}", judged.1);
            assert_eq!(judged.1.is_empty(), exit == Exit::Clean, "{states:?}");
        }
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let long = "cluster-of-a-long-name-vllm-meta-llamameta-llama-31-70b-instruct";
        let seen = seen(
            "ok",
            vec![endpoint(
                long,
                "meta-llama/Meta-Llama-3.1-70B-Instruct",
                "served",
            )],
        );
        let look = Look {
            width: 80,
            colors: false,
        };
        let text = seen.render(look);
        assert!(
            text.starts_with("ostia 1.2.3 (process 7), up 1d 1h, ok, generation 4\n"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.contains("served") && text.contains("3"), "{text}");
    }

    #[test]
    fn a_gateway_that_is_being_stopped_says_so() {
        let mut seen = seen("unavailable", Vec::new());
        seen.process["ready"]["draining"] = json!(true);
        let look = Look {
            width: 80,
            colors: false,
        };
        let text = seen.render(look);
        assert!(text.contains(", draining, generation 4\n"), "{text}");
    }
}
