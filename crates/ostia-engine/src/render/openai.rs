//! What `chat/completions` and `completions` have in common: a list of choices, and when a stream reports usage.

use serde_json::{Value, json};

use super::{Api, Event, Turn};
use crate::{Tokens, UsageShape};

/// How the two differ.
pub(super) struct Shape {
    pub(super) api: Api,
    pub(super) prefix: &'static str,
    pub(super) object: &'static str,
    pub(super) chunk: &'static str,
    /// The complete choice with this index.
    pub(super) whole: fn(&Turn<'_>, usize) -> Value,
    /// The piece of this choice with that index, or the end.
    pub(super) part: fn(&Turn<'_>, usize, Option<usize>) -> Value,
}

pub(super) fn plain(turn: &Turn<'_>, shape: &Shape) -> Value {
    let choices = (0..turn.ask.choices).map(|index| (shape.whole)(turn, index));
    envelope(turn, shape, shape.object, choices.collect())
}

pub(super) fn events(turn: &Turn<'_>, shape: &Shape) -> Vec<Event> {
    let api = shape.api;
    let choices = turn.ask.choices;
    let told = &turn.output.usage;
    let chunk = |choices: Vec<Value>, usage: Option<Tokens>| {
        let mut chunk = envelope(turn, shape, shape.chunk, choices);
        if let Some(tokens) = usage {
            turn.tell_usage(&mut chunk, tokens.json(api));
        }
        let is_true = turn.true_usage(api).is_some();
        Event::data(&chunk).usage(usage.filter(|_| is_true))
    };
    let mut events = Vec::new();
    for at in 0..turn.output.pieces.len() {
        let usage = turn.tokens_after(api, at + 1);
        let usage = (*told == UsageShape::EveryChunk).then_some(usage);
        for index in 0..choices {
            let tokens = if index == 0 { choices } else { 0 };
            let part = (shape.part)(turn, index, Some(at));
            events.push(chunk(vec![part], usage).tokens(tokens));
        }
    }
    let right = turn.tokens(api);
    let with_finish = matches!(told, UsageShape::WithFinish | UsageShape::EveryChunk);
    for index in 0..choices {
        let end = (shape.part)(turn, index, None);
        events.push(chunk(vec![end], with_finish.then_some(right)));
    }
    let usage = |tokens: Tokens| chunk(Vec::new(), Some(tokens));
    if *told == UsageShape::Twice {
        events.push(usage(turn.tokens_after(api, 1)));
    }
    let has_own_chunk = match told {
        UsageShape::AsAsked => turn.ask.include_usage,
        UsageShape::Always | UsageShape::Twice | UsageShape::Odd(_) => true,
        _ => false,
    };
    if has_own_chunk {
        events.push(usage(right));
    }
    events.push(Event::done());
    if *told == UsageShape::AfterDone {
        events.push(usage(right));
    }
    events
}

fn envelope(turn: &Turn<'_>, shape: &Shape, object: &str, choices: Vec<Value>) -> Value {
    json!({
        "id": turn.stamp.id(shape.prefix), "object": object, "created": turn.stamp.created, "model": turn.ask.model,
        "choices": choices,
    })
}
