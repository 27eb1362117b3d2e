use std::collections::VecDeque;

use parking_lot::Mutex;

/// Answers that are remembered for each API.
const REMEMBERED: usize = 128;
/// With fewer answers nothing is concluded.
const LEAST: usize = 20;
/// The percentile of outputs that is reserved.
const SHARE: usize = 95;
/// The estimates are recomputed after this many answers.
const REFRESH: usize = 8;

/// The observed usage of requests to one model, for each API. Kept over reloads.
#[derive(Debug, Default)]
pub struct Learned(Mutex<Vec<OfApi>>);

/// What a request is likely to need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub prompt_tokens: u64,
    /// Of one choice; `None`: too little is known.
    pub output_tokens: Option<u64>,
}

#[derive(Debug)]
struct OfApi {
    api: Box<str>,
    /// Tokens counted by the backend per token estimated from the prompt's bytes.
    ratios: VecDeque<f32>,
    /// Output tokens of one choice.
    outputs: VecDeque<u64>,
    answers: usize,
    ratio: Option<f32>,
    output: Option<u64>,
}

impl Learned {
    /// `estimate`: the prompt's tokens, estimated from its bytes alone.
    pub fn expected(&self, api: &str, estimate: u64) -> Expected {
        let apis = self.0.lock();
        let known = apis.iter().find(|known| *known.api == *api);
        let ratio = known.and_then(|known| known.ratio).unwrap_or(1.0);
        Expected {
            prompt_tokens: scaled(estimate, ratio),
            output_tokens: known.and_then(|known| known.output),
        }
    }

    /// Records the backend's usage for a complete answer. `prompt` is (estimated, real).
    pub fn note(&self, api: &str, prompt: (u64, u64), choices: u64, output: u64) {
        let mut apis = self.0.lock();
        let at = apis.iter().position(|known| *known.api == *api);
        let at = at.unwrap_or_else(|| {
            apis.push(OfApi::new(api));
            apis.len() - 1
        });
        let known = &mut apis[at];
        if prompt.0 > 0 && prompt.1 > 0 {
            keep(&mut known.ratios, quotient(prompt.1, prompt.0));
        }
        keep(&mut known.outputs, output / choices.max(1));
        known.answers += 1;
        if known.answers <= REFRESH * 4 || known.answers.is_multiple_of(REFRESH) {
            known.refresh();
        }
    }
}

impl OfApi {
    fn new(api: &str) -> Self {
        Self {
            api: api.into(),
            ratios: VecDeque::new(),
            outputs: VecDeque::new(),
            answers: 0,
            ratio: None,
            output: None,
        }
    }

    fn refresh(&mut self) {
        let mut ratios: Vec<f32> = self.ratios.iter().copied().collect();
        if !ratios.is_empty() {
            let middle = ratios.len() / 2;
            self.ratio = Some(*ratios.select_nth_unstable_by(middle, f32::total_cmp).1);
        }
        if self.outputs.len() >= LEAST {
            let mut outputs: Vec<u64> = self.outputs.iter().copied().collect();
            let at = (outputs.len() * SHARE / 100).min(outputs.len() - 1);
            self.output = Some(*outputs.select_nth_unstable(at).1);
        }
    }
}

fn keep<T>(all: &mut VecDeque<T>, one: T) {
    if all.len() == REMEMBERED {
        all.pop_front();
    }
    all.push_back(one);
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a ratio of counts; seven digits are plenty"
)]
fn quotient(real: u64, estimated: u64) -> f32 {
    (real as f64 / estimated as f64) as f32
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate; casts from floats saturate"
)]
fn scaled(estimate: u64, ratio: f32) -> u64 {
    (estimate as f64 * f64::from(ratio)).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "chat/completions";

    #[test]
    fn until_twenty_answers_are_known_no_output_is_concluded() {
        let learned = Learned::default();
        for output in 1..20 {
            learned.note(API, (100, 130), 1, output);
            assert_eq!(learned.expected(API, 10).output_tokens, None);
        }
        learned.note(API, (100, 130), 1, 20);
        let known = learned.expected(API, 1_000);
        assert_eq!(
            (known.prompt_tokens, known.output_tokens),
            (1_300, Some(20))
        );
        let other = learned.expected("completions", 1_000);
        assert_eq!((other.prompt_tokens, other.output_tokens), (1_000, None));
    }

    #[test]
    fn prompts_of_one_kind_are_estimated_within_a_tenth() {
        let learned = Learned::default();
        // Real prompts vary by a seventh around three tokens for two that were estimated.
        let real = |step: u64| 1_500 + (step * 7_919) % 430 - 215;
        (0..60).for_each(|step| learned.note(API, (1_000, real(step)), 1, 5));
        let expected = learned.expected(API, 1_000).prompt_tokens;
        let mut errors: Vec<u64> = (60..160)
            .map(|step| expected.abs_diff(real(step)) * 1_000 / real(step))
            .collect();
        errors.sort_unstable();
        assert!(errors[50] < 100, "median error {} per mille", errors[50]);
    }

    #[test]
    fn old_answers_are_forgotten_and_choices_are_counted_apart() {
        let learned = Learned::default();
        (0..200).for_each(|_| learned.note(API, (10, 10), 1, 9_000));
        (0..200).for_each(|_| learned.note(API, (10, 10), 4, 400));
        assert_eq!(learned.expected(API, 10).output_tokens, Some(100));
    }
}
