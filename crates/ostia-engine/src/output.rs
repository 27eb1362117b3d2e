use serde_json::Value;

use crate::schema::smallest;
use crate::{Ask, UsageShape};

/// How many characters of JSON count as one token.
const JSON_TOKEN: usize = 4;
/// How many words of the user's text are quoted.
const QUOTED_WORDS: usize = 12;
/// How many words of a command's output are quoted. Some agents put a few lines of their own before it.
const REPORTED_WORDS: usize = 80;
/// How many letters of a word are quoted: one "word" may be a megabyte of base64, and an answer may be wanted a
/// thousand times.
const QUOTED_LETTERS: usize = 200;

/// A model's answer, in pieces of one token each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    pub pieces: Vec<String>,
    /// If set, the pieces are the arguments of a call to this tool.
    pub tool: Option<String>,
    pub end: End,
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub usage: UsageShape,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Stop,
    Length,
    Tool,
}

impl Output {
    /// The simulated model's answer.
    pub fn of(ask: &Ask) -> Self {
        let (mut pieces, tool) = match (&ask.tool, &ask.schema, &ask.task_done) {
            (Some((name, arguments)), ..) => (json_pieces(arguments), Some(name.clone())),
            (None, Some(schema), _) => (json_pieces(&smallest(schema)), None),
            (None, None, Some(output)) => (words(&report(output)), None),
            (None, None, None) => (words(&reply(&ask.last_text)), None),
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
            ..Self::default()
        }
    }

    pub(crate) fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// The final report on the demo task.
fn report(output: &str) -> String {
    format!(
        "The command ran and said: \"{}\". That was the whole task of the simulated model of ostia serve --demo.",
        quoted(output, REPORTED_WORDS)
    )
}

fn reply(said: &str) -> String {
    format!(
        "You said: \"{}\". I am the simulated model of ostia serve --demo: I understand nothing, but what I write has the \
         shape, the pace and the token counts of a real answer.",
        quoted(said, QUOTED_WORDS)
    )
}

/// The first words of a text.
fn quoted(text: &str, most: usize) -> String {
    let words = text.split_whitespace().take(most);
    let quoted: Vec<String> = words
        .map(|word| word.chars().take(QUOTED_LETTERS).collect())
        .collect();
    quoted.join(" ")
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
