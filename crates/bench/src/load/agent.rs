//! The standard load: a coding agent's session, whose prompt grows with every turn.

use super::request::prompt;
use bytes::Bytes;
use std::fmt::Write;

const TURNS: usize = 40;
const TOOLS: usize = 200;
/// Bytes of prompt at each share of an agent's requests, as seen at research sites.
const SIZES: [(f64, f64); 5] = [
    (0.0, 0.1e6),
    (0.5, 0.8e6),
    (0.9, 2.1e6),
    (0.99, 3.4e6),
    (1.0, 3.4e6),
];
/// A message is about as long as a file that the agent has read.
const MESSAGE: usize = 8 << 10;

/// Each turn repeats the last one and adds to it: the tools, then the messages so far, the model last.
pub fn turns(model: &str, flags: &str) -> Vec<Bytes> {
    let model = serde_json::Value::from(model);
    let mut text = format!(r#"{{"tools":[{}],"messages":["#, tools());
    let mut messages = 0;
    let turn = |number| {
        let size = size_at((number as f64 + 0.5) / TURNS as f64);
        while messages == 0 || text.len() + MESSAGE < size {
            let separator = if messages == 0 { "" } else { "," };
            let role = ["user", "assistant"][messages % 2];
            let content = prompt(MESSAGE);
            let _ = write!(
                text,
                r#"{separator}{{"role":"{role}","content":"{content}"}}"#
            );
            messages += 1;
        }
        Bytes::from(format!(
            r#"{text}]{flags},"max_tokens":32000,"model":{model}}}"#
        ))
    };
    (0..TURNS).map(turn).collect()
}

fn tools() -> String {
    let tool = |number| {
        format!(
            r#"{{"type":"function","function":{{"name":"tool_{number}","description":"{}","parameters":{{"type":"object","properties":{{"path":{{"type":"string"}},"limit":{{"type":"integer"}}}},"required":["path"]}}}}}}"#,
            prompt(256)
        )
    };
    (0..TOOLS).map(tool).collect::<Vec<_>>().join(",")
}

/// Between two known shares sizes grow by a constant factor.
fn size_at(share: f64) -> usize {
    let above = SIZES.partition_point(|(at, _)| *at < share).max(1);
    let ((from, small), (to, large)) = (SIZES[above - 1], SIZES[above]);
    (small * (large / small).powf((share - from) / (to - from))) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_grow_by_what_they_repeat_and_are_json() {
        let turns = turns("m", r#","stream":true"#);
        assert_eq!(turns.len(), TURNS);
        for pair in turns.windows(2) {
            let shared = pair[0].iter().zip(&pair[1]).take_while(|(a, b)| a == b);
            assert!(shared.count() + 100 > pair[0].len());
        }
        let body: serde_json::Value = serde_json::from_slice(&turns[TURNS / 2]).unwrap();
        assert_eq!(body["model"], "m");
        assert_eq!(body["tools"].as_array().unwrap().len(), TOOLS);
        let median = turns[TURNS / 2].len();
        assert!((750_000..850_000).contains(&median), "{median}");
        assert_eq!(size_at(0.9), 2_100_000);
    }
}
