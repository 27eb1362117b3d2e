use serde_json::Value;

use crate::schema::smallest;
use crate::task::{bare, schema_of, shell};

/// The longest answer.
const MOST_TOKENS: u64 = 100_000;
const MOST_CHOICES: u64 = 16;
const MOST_PROMPTS: usize = 64;

/// What a request asks for, in any dialect.
#[derive(Debug, Clone)]
pub struct Ask {
    pub model: String,
    pub stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) most_tokens: Option<usize>,
    /// The number of answers wanted: `completions` answers each prompt `n` times.
    pub(crate) choices: usize,
    pub(crate) logprobs: Option<usize>,
    /// The text of the last turn.
    pub(crate) last_text: String,
    pub(crate) prompt_tokens: u64,
    /// The tool to call, and its arguments.
    pub(crate) tool: Option<(String, Value)>,
    /// The output of the demo task, if its tool was called.
    pub(crate) task_done: Option<String>,
    /// The schema that the answer must match.
    pub(crate) schema: Option<Value>,
    pub body: Value,
}

impl Ask {
    pub fn read(body: Value) -> Self {
        let number = |key: &str| body[key].as_u64();
        let most_tokens = number("max_completion_tokens")
            .or(number("max_tokens"))
            .or(number("max_output_tokens"));
        let mut texts = Vec::new();
        for key in ["system", "instructions", "messages", "prompt", "input"] {
            collect(&body[key], &mut texts);
        }
        let words: usize = texts.iter().map(|text| count(text)).sum();
        let last_text = texts.pop().unwrap_or_default();
        Self {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            stream: body["stream"] == true,
            include_usage: body["stream_options"]["include_usage"] == true,
            most_tokens: most_tokens.map(|most| most.min(MOST_TOKENS) as usize),
            choices: prompts(&body) * number("n").unwrap_or(1).clamp(1, MOST_CHOICES) as usize,
            logprobs: logprobs(&body),
            prompt_tokens: words.max(1) as u64,
            tool: tool(&body, &last_text),
            task_done: shell(tools_of(&body)).and_then(|_| result(&body)),
            last_text,
            schema: schema(&body),
            body,
        }
    }
}

/// The tokens of a text: its words.
fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Collects every text in messages, parts and lists of them. A number is a token id.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Number(id) => texts.push(id.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(part) => {
            for key in ["content", "text", "output"] {
                if let Some(inner) = part.get(key) {
                    collect(inner, texts);
                }
            }
        }
        _ => {}
    }
}

fn prompts(body: &Value) -> usize {
    match &body["prompt"] {
        Value::Array(prompts) if prompts.iter().all(|prompt| !prompt.is_number()) => {
            prompts.len().clamp(1, MOST_PROMPTS)
        }
        _ => 1,
    }
}

fn logprobs(body: &Value) -> Option<usize> {
    match &body["logprobs"] {
        Value::Bool(true) => Some(body["top_logprobs"].as_u64().unwrap_or(0).min(20) as usize),
        Value::Number(count) => Some(count.as_u64().unwrap_or(0).min(20) as usize),
        _ => None,
    }
}

/// The tool that must be called, with its arguments. If the choice is the model's: an agent's shell, or else a tool
/// whose name the user mentions.
fn tool(body: &Value, said: &str) -> Option<(String, Value)> {
    let choice = &body["tool_choice"];
    let wanted = choice["function"]["name"]
        .as_str()
        .or(choice["name"].as_str());
    let word = choice.as_str().or(choice["type"].as_str());
    let is_free = wanted.is_none() && matches!(word, None | Some("auto"));
    let any = matches!(word, Some("any" | "required"));
    if wanted.is_none() && !any && !(is_free && user_speaks(body)) {
        return None;
    }
    if is_free && let Some(shell) = shell(tools_of(body)) {
        return Some(shell);
    }
    let fitting = tools_of(body).map(bare);
    let mut fitting = fitting.filter(|tool| wanted.is_none_or(|name| tool["name"] == name));
    let tool = fitting.find(|tool| match tool["name"].as_str() {
        Some(name) => !is_free || mentions(said, name),
        None => false,
    })?;
    let arguments = schema_of(tool).map_or(Value::Null, smallest);
    let arguments = match arguments.is_object() {
        true => arguments,
        false => serde_json::json!({}),
    };
    Some((tool["name"].as_str()?.to_owned(), arguments))
}

fn tools_of(body: &Value) -> impl Iterator<Item = &Value> {
    body["tools"].as_array().into_iter().flatten()
}

/// The turns of a conversation, the last one first. An agent's notes to the model do not count.
fn turns(body: &Value) -> impl Iterator<Item = &Value> {
    let turns = ["messages", "input"].iter();
    let turns = turns
        .filter_map(|key| body[*key].as_array())
        .flatten()
        .rev();
    turns.filter(|turn| !matches!(turn["role"].as_str(), Some("system" | "developer")))
}

/// Whether the last turn is the user's, and not a tool's.
fn user_speaks(body: &Value) -> bool {
    match turns(body).next() {
        Some(last) => last["role"] == "user" && result_in(last).is_none(),
        None => body["input"].is_string(),
    }
}

/// The output of a tool, if that is the last turn.
fn result(body: &Value) -> Option<String> {
    turns(body).next().and_then(result_in)
}

fn result_in(turn: &Value) -> Option<String> {
    let parts = || turn["content"].as_array().into_iter().flatten();
    let said = match (turn["role"].as_str(), turn["type"].as_str()) {
        (Some("tool"), _) => &turn["content"],
        (_, Some("function_call_output")) => &turn["output"],
        _ => &parts().find(|part| part["type"] == "tool_result")?["content"],
    };
    let mut texts = Vec::new();
    collect(said, &mut texts);
    Some(texts.join(" "))
}

/// Whether a text contains a word of a tool's name, other than `get` and the like: "weather" of `get_weather`.
fn mentions(text: &str, name: &str) -> bool {
    const LEAST: usize = 4;
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|at: char| !at.is_alphanumeric());
        words.map(str::to_lowercase).collect()
    };
    let said = words(text);
    words(name)
        .iter()
        .any(|word| word.len() >= LEAST && said.contains(word))
}

/// `response_format` of chat, `text.format` of responses, `output_config.format` of messages.
fn schema(body: &Value) -> Option<Value> {
    let formats = [
        &body["response_format"],
        &body["text"]["format"],
        &body["output_config"]["format"],
        &body["output_format"],
    ];
    let format = formats.into_iter().find(|format| format.is_object())?;
    match format["type"].as_str()? {
        "json_schema" => {
            let nested = &format["json_schema"]["schema"];
            let schema = if nested.is_object() {
                nested
            } else {
                &format["schema"]
            };
            Some(schema.clone())
        }
        "json_object" => Some(serde_json::json!({"const": {"demo": true}})),
        _ => None,
    }
}
