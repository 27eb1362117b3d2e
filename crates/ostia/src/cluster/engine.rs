use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Location;
use parking_lot::Mutex;

use crate::catalog::{Deployment, Places};
use crate::fleet::Report;
use crate::upstream::Http;

/// On the backend's host.
const PATH: &str = "/metrics";
/// An engine that is not known to report its load is asked once it has this many requests in flight.
const BUSY: u32 = 8;
/// How long until an engine that did not report its load is asked again.
const REST: Duration = Duration::from_secs(300);

/// The names of the metrics that engines report. In some versions the colons are underscores.
static NAMES: [(&str, Field); 18] = [
    ("vllm_num_requests_running", Field::Running),
    ("vllm_num_requests_waiting", Field::Waiting),
    ("vllm_prompt_tokens_total", Field::Prompt),
    ("vllm_generation_tokens_total", Field::Output),
    ("vllm_kv_cache_usage_perc", Field::Cache),
    // vLLM before 0.10.
    ("vllm_gpu_cache_usage_perc", Field::Cache),
    ("sglang_num_running_reqs", Field::Running),
    ("sglang_num_queue_reqs", Field::Waiting),
    ("sglang_prompt_tokens_total", Field::Prompt),
    ("sglang_generation_tokens_total", Field::Output),
    ("sglang_token_usage", Field::Cache),
    ("llamacpp_requests_processing", Field::Running),
    ("llamacpp_requests_deferred", Field::Waiting),
    ("llamacpp_prompt_tokens_total", Field::Prompt),
    ("llamacpp_tokens_predicted_total", Field::Output),
    ("llamacpp_kv_cache_usage_ratio", Field::Cache),
    // TGI's token counts are left out: they are gauges of the last second.
    ("tgi_batch_current_size", Field::Running),
    ("tgi_queue_size", Field::Waiting),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Running,
    Waiting,
    Prompt,
    Output,
    /// The share of the KV cache in use.
    Cache,
}

impl Field {
    /// Combines the metrics of several engines behind one URL: their work adds up, and the fullest cache counts.
    fn join(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Cache => one.max(other),
            Self::Running | Self::Waiting | Self::Prompt | Self::Output => one + other,
        }
    }
}

/// Asks an engine for its load, while it has requests.
pub(super) struct Engine {
    deployment: Arc<Deployment>,
    http: Http,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In how many consecutive rounds it was busy.
    busy: u32,
    rests_until: Option<Instant>,
}

impl Engine {
    /// `None`: its limit is a fixed number, or it is not one of this site's engines.
    pub fn of(deployment: &Arc<Deployment>, http: Http) -> Option<Self> {
        let is_asked = match deployment.max_in_flight {
            // One replica's load says nothing about all of them.
            _ if deployment.register.is_some() => false,
            Places::Fixed(_) => false,
            Places::Auto => true,
            // External servers are not asked for metrics unless the entry says that they have them.
            Places::AutoIfTold => deployment.location == Location::OnSite,
        };
        is_asked.then(|| Self {
            deployment: Arc::clone(deployment),
            http,
            state: Mutex::default(),
        })
    }

    /// Asks the engine if that is worth while, and records its answer.
    pub async fn look(&self, now: Instant) {
        let best = self.deployment.state.best_point();
        if !self.is_due(best.is_reported(), now) {
            return;
        }
        let report = match self.http.get(PATH).await {
            Ok(reply) if reply.status.is_success() => read(&reply.body),
            _ => None,
        };
        if report.is_none() {
            self.state.lock().rests_until = Some(now + REST);
        }
        best.report(report, now);
    }

    fn is_due(&self, tells: bool, now: Instant) -> bool {
        let in_flight = self.deployment.state.in_flight();
        let mut state = self.state.lock();
        if state.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        let is_known = tells || self.deployment.max_in_flight == Places::Auto;
        let is_busy = in_flight >= if is_known { 1 } else { BUSY };
        state.busy = if is_busy {
            state.busy.saturating_add(1)
        } else {
            0
        };
        is_busy && (is_known || state.busy >= 2)
    }
}

/// The sum over all engines behind one URL. `None`: the page has no count of requests.
fn read(text: &[u8]) -> Option<Report> {
    let text = std::str::from_utf8(text).ok()?;
    let mut said = [None::<f64>; 5];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = name.split('{').next().unwrap_or_default().trim();
        let name = name.replacen(':', "_", 1);
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let value = value.parse::<f64>().ok().filter(|value| value.is_finite());
        if let (Some((_, field)), Some(value)) = (known, value) {
            let value = value.max(0.0);
            let so_far = &mut said[*field as usize];
            *so_far = Some(so_far.map_or(value, |so_far| field.join(so_far, value)));
        }
    }
    let [running, waiting, prompt, output, cache] = said;
    Some(Report {
        running: count(running?),
        waiting: count(waiting.unwrap_or_default()),
        service: output.map(|output| prompt.unwrap_or_default() + 2.0 * output),
        cache,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of requests; casts from floats saturate"
)]
fn count(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_read_by_their_own_names() {
        let vllm = "# HELP vllm:num_requests_running Number of requests\n# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\",model_name=\"m 1\"} 7.0\nvllm:num_requests_running{engine=\"1\",model_name=\"m 1\"} 3.0\nvllm:num_requests_waiting{engine=\"0\"} 2.0\nvllm:kv_cache_usage_perc{engine=\"0\"} 0.5\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.75\nvllm:prompt_tokens_total{engine=\"0\"} 100.0\nvllm:generation_tokens_total{engine=\"0\"} 1e3\n";
        let report = |running, waiting, service, cache| Report {
            running,
            waiting,
            service,
            cache,
        };
        assert_eq!(
            read(vllm.as_bytes()),
            Some(report(10, 2, Some(2_100.0), Some(0.75)))
        );
        let sglang = "sglang:num_running_reqs{model_name=\"m\"} 4.0\nsglang:num_queue_reqs{model_name=\"m\"} 1.0\nsglang:token_usage 0.3\n";
        assert_eq!(read(sglang.as_bytes()), Some(report(4, 1, None, Some(0.3))));
        let llama = "llamacpp:requests_processing 2\nllamacpp:requests_deferred 0\nllamacpp:tokens_predicted_total 50\nllamacpp:kv_cache_usage_ratio 1\n";
        assert_eq!(
            read(llama.as_bytes()),
            Some(report(2, 0, Some(100.0), Some(1.0)))
        );
        let older = "vllm:num_requests_running 1\nvllm:gpu_cache_usage_perc 0.25\n";
        assert_eq!(read(older.as_bytes()), Some(report(1, 0, None, Some(0.25))));
        for nothing in [
            "",
            "<html>",
            "up 1\n",
            "vllm:num_requests_running NaN\n",
            "\u{0}",
        ] {
            assert_eq!(read(nothing.as_bytes()), None, "{nothing}");
        }
    }
}
