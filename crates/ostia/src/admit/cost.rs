use ostia_core::{Cost, Usage, UsageSource};

use crate::fleet::Learned;
use crate::read::Demand;
use crate::settings::{Limits, ReserveOutput};

/// Generating a token takes an engine about as long as reading two; a token from its cache costs a tenth.
const OUTPUT: f64 = 2.0;
const CACHED: f64 = 0.1;

/// The reservation under every token limit.
pub(super) fn cost(limits: &Limits, learned: &Learned, demand: &Demand) -> Cost {
    let expected = learned.expected(&demand.api, demand.prompt);
    let each = expected
        .output_tokens
        .unwrap_or(limits.default_output_tokens);
    let likely = each.saturating_mul(demand.choices);
    let cap = demand.output_cap;
    let (prompt, output, guessed) = match limits.reserve_output {
        ReserveOutput::Estimate => {
            let most = cap.filter(|_| !demand.may_exceed_cap);
            let output = likely.min(most.unwrap_or(u64::MAX));
            (expected.prompt_tokens, output, 0)
        }
        // Callers rely on this: a prompt is never estimated below what its bytes suggest.
        ReserveOutput::MaxTokens => {
            let prompt = expected.prompt_tokens.max(demand.prompt);
            match cap {
                Some(cap) if demand.may_exceed_cap => (prompt, cap, likely),
                Some(cap) => (prompt, cap, 0),
                None => (prompt, 0, likely),
            }
        }
    };
    Cost {
        named: prompt.saturating_add(output),
        guessed,
    }
}

/// The service with which a request is counted in the queue until it is over.
pub(super) fn likely_service(demand: &Demand, cost: Cost) -> f64 {
    let prompt = demand.prompt.min(cost.total());
    service(prompt, 0, cost.total() - prompt).max(1.0)
}

/// The service that it got.
pub(super) fn real_service(usage: &Usage) -> f64 {
    match usage.source {
        UsageSource::None => 0.0,
        UsageSource::Upstream | UsageSource::Estimated => service(
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
        )
        .max(1.0),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
fn service(prompt: u64, cached: u64, output: u64) -> f64 {
    let cached = cached.min(prompt);
    (prompt - cached) as f64 + CACHED * cached as f64 + OUTPUT * output as f64
}

/// Remembers the actual usage of a complete answer.
pub(super) fn learn(learned: &Learned, demand: &Demand, usage: &Usage) {
    if usage.source == UsageSource::Upstream {
        let prompt = (demand.prompt, usage.prompt_tokens);
        learned.note(&demand.api, prompt, demand.choices, usage.completion_tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::limits_off;
    use super::*;

    fn demand(output_cap: Option<u64>, choices: u64) -> Demand {
        Demand {
            api: "chat/completions".into(),
            prompt: 100,
            output_cap,
            may_exceed_cap: false,
            choices,
        }
    }

    fn limits(reserve_output: ReserveOutput) -> Limits {
        Limits {
            reserve_output,
            ..limits_off()
        }
    }

    #[test]
    fn an_estimate_is_at_most_the_cap_and_a_cap_is_reserved_whole() {
        let learned = Learned::default();
        let estimate = limits(ReserveOutput::Estimate);
        let named = |limits: &Limits, demand: &Demand| {
            let cost = cost(limits, &learned, demand);
            (cost.named, cost.guessed)
        };
        assert_eq!(named(&estimate, &demand(Some(32_000), 1)), (1_124, 0));
        assert_eq!(named(&estimate, &demand(Some(5), 1)), (105, 0));
        assert_eq!(named(&estimate, &demand(None, 3)), (100 + 3 * 1_024, 0));
        assert_eq!(named(&estimate, &demand(None, 0)), (100, 0));
        let whole = limits(ReserveOutput::MaxTokens);
        assert_eq!(named(&whole, &demand(Some(32_000), 1)), (32_100, 0));
        assert_eq!(named(&whole, &demand(None, 2)), (100, 2_048));
        let endless = Demand {
            may_exceed_cap: true,
            ..demand(Some(5), 2)
        };
        assert_eq!(named(&estimate, &endless), (100 + 2 * 1_024, 0));
        assert_eq!(named(&whole, &endless), (105, 2_048));
        for _ in 0..20 {
            learned.note("chat/completions", (100, 150), 1, 300);
        }
        let known = cost(&estimate, &learned, &demand(Some(32_000), 1));
        assert_eq!((known.named, known.guessed), (450, 0));
        let known = cost(&whole, &learned, &demand(Some(32_000), 1));
        assert_eq!((known.named, known.guessed), (32_150, 0));
    }
}
