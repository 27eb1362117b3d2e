use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use super::lexeme::RawString;

/// Bytes of prompt that one hash stands for: about 256 tokens.
const PIECE: usize = 1024;

/// The line that Claude Code puts before its system prompt, other in each request.
const BILLING: &[u8] = b"x-anthropic-billing-header:";
const CACHE_CONTROL: &[u8] = b"cache_control";

/// The secret that prompts are hashed with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PrintKey([u8; 16]);

/// Keyed hashes of the pieces of a prompt, in the order in which engines read it: tools, system prompt, messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prints {
    sections: [Vec<u64>; 3],
}

/// The part of a prompt that a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Tools,
    System,
    Messages,
}

/// Hashes one section as it is scanned: names of members, texts and numbers. Marks for the cache of a provider are left
/// out, as clients move them from turn to turn.
pub(super) struct Printer {
    key: PrintKey,
    section: Section,
    piece: SipHasher13,
    /// Bytes in the piece.
    filled: usize,
    pieces: Vec<u64>,
    /// The depth of a member whose value is left out.
    skipped: Option<usize>,
}

impl PrintKey {
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    fn hasher(self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

impl std::fmt::Debug for PrintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrintKey")
    }
}

impl Section {
    pub(super) fn of(key: &str) -> Option<Self> {
        Some(match key {
            "tools" | "functions" => Self::Tools,
            "system" | "instructions" => Self::System,
            "messages" | "input" | "prompt" => Self::Messages,
            _ => return None,
        })
    }
}

impl Prints {
    /// Hashes of ever longer beginnings of the prompt. `seed`: who shares an engine's cache.
    pub fn chain(&self, key: PrintKey, seed: &[&str]) -> Vec<u64> {
        let mut link = key.hasher();
        for part in seed {
            link.write(&(part.len() as u64).to_le_bytes());
            link.write(part.as_bytes());
        }
        let mut last = link.finish();
        let pieces = self.sections.iter().flatten();
        pieces
            .map(|piece| {
                let mut link = key.hasher();
                link.write_u64(last);
                link.write_u64(*piece);
                last = link.finish();
                last
            })
            .collect()
    }

    pub fn is_empty(&self) -> bool {
        self.sections.iter().all(Vec::is_empty)
    }
}

/// One keyed hash of some texts.
pub fn print_of(key: PrintKey, parts: &[&str]) -> u64 {
    let mut hasher = key.hasher();
    for part in parts {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part.as_bytes());
    }
    hasher.finish()
}

impl Printer {
    pub(super) fn new(key: PrintKey, section: Section) -> Self {
        Self {
            key,
            section,
            piece: key.hasher(),
            filled: 0,
            pieces: Vec::new(),
            skipped: None,
        }
    }

    pub(super) fn key(&mut self, depth: usize, name: RawString<'_>) {
        if self.skipped.is_some() {
            return;
        }
        match name.inner == CACHE_CONTROL {
            true => self.skipped = Some(depth),
            false => self.add(name.inner),
        }
    }

    /// `inner`: the content of a string, or a scalar as written; `None` for a container, which comes piece by piece.
    pub(super) fn value(&mut self, depth: usize, inner: Option<&[u8]>) {
        match (self.skipped, inner) {
            (Some(skipped), Some(_)) if skipped == depth => self.skipped = None,
            (Some(_), _) | (None, None) => {}
            (None, Some(inner)) => self.add(without_billing(inner)),
        }
    }

    pub(super) fn closed(&mut self, depth: usize) {
        if self.skipped == Some(depth) {
            self.skipped = None;
        }
    }

    pub(super) fn add_to(self, prints: &mut Prints) {
        if let Some(pieces) = prints.sections.get_mut(self.section as usize) {
            pieces.extend(self.pieces);
        }
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while self.filled + bytes.len() >= PIECE {
            let (now, later) = bytes.split_at(PIECE - self.filled);
            self.piece.write(now);
            self.pieces.push(self.piece.finish());
            self.piece = self.key.hasher();
            self.filled = 0;
            bytes = later;
        }
        self.piece.write(bytes);
        // What ends here is another text than what goes on.
        self.piece.write_u8(0);
        self.filled += bytes.len();
    }
}

/// What follows the first line if that is the billing line: it ends in the JSON escape of a line feed, or with the text.
fn without_billing(inner: &[u8]) -> &[u8] {
    if !inner.starts_with(BILLING) {
        return inner;
    }
    let end = memchr::memmem::find(inner, b"\\n");
    end.map_or(&[], |end| &inner[end + 2..])
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::{Value, json};

    use super::super::{FieldKey, Keys, Watch, scan};
    use super::*;

    static KEYS: Keys = Keys::of(&[&[
        FieldKey::prompt("messages"),
        FieldKey::counted("system"),
        FieldKey::counted("tools"),
    ]]);
    const KEY: PrintKey = PrintKey::new([7; 16]);

    fn chain(body: &str) -> Vec<u64> {
        let mut watch = Watch::default();
        watch.print_with(KEY);
        let fields = scan(body.as_bytes(), &KEYS, &watch).now_or_never();
        fields.unwrap().unwrap().prints.chain(KEY, &["m"])
    }

    fn of(body: &Value) -> Vec<u64> {
        chain(&body.to_string())
    }

    fn text(word: &str) -> String {
        word.repeat(5_000 / word.len())
    }

    /// How many pieces two prompts have in common.
    fn common(one: &[u64], other: &[u64]) -> usize {
        let pairs = one.iter().zip(other);
        pairs.take_while(|(one, other)| one == other).count()
    }

    #[test]
    fn a_conversation_that_goes_on_begins_alike() {
        let turn = |content: &str| json!({"role": "user", "content": text(content)});
        let first = of(&json!({"messages": [turn("a"), turn("b")]}));
        let second = of(&json!({"messages": [turn("a"), turn("b"), turn("c")]}));
        assert_eq!(first.len(), 9);
        assert!(common(&first, &second) >= 9 && second.len() >= 14);
        let other = of(&json!({"messages": [turn("x"), turn("b"), turn("c")]}));
        assert_eq!(common(&second, &other), 0);
    }

    #[test]
    fn the_order_is_the_engine_s_however_the_body_is_written() {
        let messages = json!([{"role": "user", "content": text("hello")}]);
        let tools = json!([{"name": "read", "description": text("reads ")}]);
        let system = json!(text("be kind "));
        let one = format!(r#"{{"messages":{messages},"system":{system},"tools":{tools}}}"#);
        let other =
            format!(r#"{{ "tools": {tools}, "system": {system}, "messages": {messages} }}"#);
        assert_eq!(chain(&one), chain(&other));
        let less = format!(r#"{{"tools":{tools},"system":{system},"messages":[]}}"#);
        assert!(common(&chain(&less), &chain(&one)) == chain(&less).len());
    }

    #[test]
    fn what_changes_with_every_request_is_left_out() {
        let with = |billing: &str, mark: &Value| {
            let line = format!("x-anthropic-billing-header: cc_version=2; cch={billing};");
            of(&json!({
                "system": [
                    {"type": "text", "text": line},
                    {"type": "text", "text": format!("{line}\n{}", text("You are an agent. "))},
                ],
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": text("hi "), "cache_control": mark}]},
                    {"role": "user", "content": text("go on ")},
                ],
            }))
        };
        let first = with("00aa1", &json!({"type": "ephemeral", "ttl": [{"x": 1}]}));
        assert_eq!(first, with("ffe97", &json!(null)));
        assert!(first.len() >= 13);
    }

    #[test]
    fn another_key_or_another_seed_has_nothing_in_common() {
        let body = json!({"messages": [{"role": "user", "content": text("a")}]}).to_string();
        let mut watch = Watch::default();
        watch.print_with(KEY);
        let fields = scan(body.as_bytes(), &KEYS, &watch).now_or_never();
        let prints = fields.unwrap().unwrap().prints;
        let one = prints.chain(KEY, &["m", "ann"]);
        for other in [
            prints.chain(KEY, &["m", "bob"]),
            prints.chain(KEY, &["man", "n"]),
            prints.chain(PrintKey::new([8; 16]), &["m", "ann"]),
        ] {
            assert_eq!(common(&one, &other), 0);
        }
        let unkeyed = scan(body.as_bytes(), &KEYS, &Watch::default()).now_or_never();
        assert!(unkeyed.unwrap().unwrap().prints.is_empty());
    }
}
