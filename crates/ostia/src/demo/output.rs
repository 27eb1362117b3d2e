use serde_json::{Value, json};

use super::ask::Ask;
use super::schema::smallest;

/// Characters of JSON that count as a token.
const JSON_TOKEN: usize = 4;
/// Of what was said, so much is quoted.
const QUOTED_WORDS: usize = 12;
/// Of a word; what is one word may be a megabyte of base64, and an answer may be asked for a thousand times.
const QUOTED_LETTERS: usize = 200;

/// What the simulated model says: one piece a token.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) pieces: Vec<String>,
    /// The pieces are the arguments of a call of this tool.
    pub(super) tool: Option<String>,
    pub(super) end: End,
    pub(super) prompt_tokens: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Stop,
    Length,
    Tool,
}

impl Output {
    pub(super) fn of(ask: &Ask) -> Self {
        let (mut pieces, tool) = match (&ask.tool, &ask.schema) {
            (Some((name, schema)), _) => (json_pieces(&arguments(schema)), Some(name.clone())),
            (None, Some(schema)) => (json_pieces(&smallest(schema)), None),
            (None, None) => (words(&reply(&ask.last_text)), None),
        };
        let most = ask.most_tokens.unwrap_or(usize::MAX).max(1);
        let end = match &tool {
            _ if pieces.len() > most => End::Length,
            Some(_) => End::Tool,
            None => End::Stop,
        };
        pieces.truncate(most);
        Self {
            pieces,
            tool,
            end,
            prompt_tokens: ask.prompt_tokens,
        }
    }

    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }

    /// Counts for so many choices.
    pub(super) fn completion_tokens(&self, choices: usize) -> usize {
        self.pieces.len() * choices
    }

    /// OpenAI's usage object.
    pub(super) fn usage(&self, choices: usize) -> Value {
        let completion = self.completion_tokens(choices);
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        })
    }
}

fn arguments(schema: &Value) -> Value {
    match smallest(schema) {
        Value::Object(members) => Value::Object(members),
        _ => json!({}),
    }
}

fn reply(said: &str) -> String {
    let words = said.split_whitespace().take(QUOTED_WORDS);
    let quoted: Vec<String> = words
        .map(|word| word.chars().take(QUOTED_LETTERS).collect())
        .collect();
    format!(
        "You said: \"{}\". I am the simulated model of ostia serve --demo: I understand nothing, but what I write has the \
         shape, the pace and the token counts of a real answer.",
        quoted.join(" ")
    )
}

fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

fn json_pieces(value: &Value) -> Vec<String> {
    let characters: Vec<char> = value.to_string().chars().collect();
    characters
        .chunks(JSON_TOKEN)
        .map(|piece| piece.iter().collect())
        .collect()
}
