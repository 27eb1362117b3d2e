//! Rows of a busy year: 2,000 users, 40 models and 365 days; users and models follow Zipf's law.
#![expect(
    clippy::unwrap_used,
    reason = "figures for a terminal; whatever is wrong ends it"
)]

use std::borrow::Cow;
use std::time::Duration;

use ostia_core::{LedgerRow, Outcome, Phase, RequestId, UsageSource};

const MODELS: usize = 40;

pub struct Names {
    users: Vec<String>,
    keys: Vec<String>,
    groups: Vec<String>,
    models: Vec<String>,
    slugs: Vec<String>,
    user_shares: Vec<f64>,
    model_shares: Vec<f64>,
    state: u64,
}

impl Names {
    pub fn new(user_count: usize) -> Self {
        let named = |count: usize, name: &dyn Fn(usize) -> String| (0..count).map(name).collect();
        Self {
            users: named(user_count, &|n| format!("user{n}@lab.example.org")),
            keys: named(user_count, &|n| format!("k{n:012}")),
            groups: named(60, &|n| format!("05d1c5a4-0ff0-11ef-9c26-6beda4a3f{n:03}")),
            models: named(MODELS, &|n| format!("meta-llama/Model-{n}-Instruct")),
            slugs: named(MODELS, &|n| {
                format!("sophia-vllm-meta-llamamodel-{n}-instruct")
            }),
            user_shares: zipf(user_count),
            model_shares: zipf(MODELS),
            state: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// xorshift: the same rows each time.
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn pick(&mut self, users: bool) -> usize {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
        let share = (self.random() >> 11) as f64 / (1_u64 << 53) as f64;
        let shares = if users {
            &self.user_shares
        } else {
            &self.model_shares
        };
        shares
            .partition_point(|&sum| sum < share)
            .min(shares.len() - 1)
    }

    pub fn row(&mut self, started_at: i64) -> LedgerRow<'static> {
        let (user, model) = (self.pick(true), self.pick(false));
        let dice = self.random() % 100;
        let outcome = match dice {
            0..3 => Outcome::Rejected,
            3..5 => Outcome::ClientClosed,
            5 => Outcome::UpstreamError,
            _ => Outcome::Ok,
        };
        let owned = |text: &str| Cow::Owned(text.to_owned());
        LedgerRow {
            request_id: RequestId::at(started_at),
            started_at,
            finished_at: started_at + 2_000_000,
            user_id: owned(&self.users[user]),
            username: owned(&self.users[user]),
            auth_service: Cow::Borrowed("api_key"),
            idp: Cow::Borrowed("lab.example.org"),
            domain: Cow::Borrowed("lab.example.org"),
            group_id: owned(&self.groups[user % 60]),
            key_id: owned(&self.keys[user]),
            project: Cow::Borrowed(["", "fusion", "climate"][user % 3]),
            cluster: Cow::Borrowed(["sophia", "metis"][model % 2]),
            framework: Cow::Borrowed("vllm"),
            model: owned(&self.models[model]),
            endpoint_slug: owned(&self.slugs[model]),
            api: Cow::Borrowed(if dice.is_multiple_of(10) {
                "embeddings"
            } else {
                "chat/completions"
            }),
            stream: dice.is_multiple_of(2),
            http_status: 200,
            outcome,
            phase: Phase::Done,
            prompt_tokens: self.random() % 4_000,
            completion_tokens: self.random() % 900,
            total_tokens: 2_000,
            usage_source: UsageSource::Upstream,
            ttft_ms: Some(120),
            duration_ms: 2_000,
            request_bytes: 3_000,
            response_bytes: 9_000,
            upstream_status: 200,
            attempts: 1,
            origin_ip: Cow::Borrowed("192.0.2.17"),
            count: 1,
            ..LedgerRow::default()
        }
    }
}

fn zipf(count: usize) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
    let weights: Vec<f64> = (1..=count).map(|rank| 1.0 / rank as f64).collect();
    let all: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let sums = weights.iter().map(|weight| {
        sum += weight / all;
        sum
    });
    sums.collect()
}

/// Of this process: user and system, to the hundredth of a second.
pub fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
