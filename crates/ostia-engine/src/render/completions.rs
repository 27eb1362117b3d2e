//! `completions`.

use serde_json::{Value, json};

use super::openai::Shape;
use super::{Api, Turn};
use crate::End;

pub(super) const SHAPE: Shape = Shape {
    api: Api::Completions,
    prefix: "cmpl",
    object: "text_completion",
    chunk: "text_completion",
    whole,
    part,
};

fn whole(turn: &Turn<'_>, index: usize) -> Value {
    choice(turn, index, &turn.output.pieces, true)
}

fn part(turn: &Turn<'_>, index: usize, at: Option<usize>) -> Value {
    let pieces = at.map_or(&[][..], |at| &turn.output.pieces[at..=at]);
    choice(turn, index, pieces, at.is_none())
}

fn choice(turn: &Turn<'_>, index: usize, pieces: &[String], is_last: bool) -> Value {
    let finish = is_last.then_some(match turn.output.end {
        End::Length => "length",
        End::Stop | End::Tool => "stop",
    });
    let logprobs = logprobs(turn, pieces);
    json!({"index": index, "text": pieces.concat(), "logprobs": logprobs, "finish_reason": finish})
}

fn logprobs(turn: &Turn<'_>, pieces: &[String]) -> Value {
    if turn.ask.logprobs.is_none() || pieces.is_empty() {
        return Value::Null;
    }
    let likely: Vec<Value> = pieces.iter().map(|piece| json!({piece: -0.25})).collect();
    json!({
        "tokens": pieces, "token_logprobs": vec![-0.25; pieces.len()], "top_logprobs": likely,
        "text_offset": vec![0; pieces.len()],
    })
}
