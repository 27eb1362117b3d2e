use std::fs;
use std::path::{Path, PathBuf};

use ostia_core::{Clock, SystemClock};

use super::TARGETS;

/// Executions of each target in CI; `OSTIA_FUZZ_RUNS` asks for more, `OSTIA_FUZZ_SEED` for others, `OSTIA_FUZZ_TARGETS` for some
/// targets only.
const RUNS: u64 = 5_000;
const LONGEST: usize = 16 * 1024;
/// What these formats are made of.
const WORDS: [&str; 32] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\",
    "\\u0065",
    "\r\n",
    "\n",
    "\n\n",
    "data: ",
    "event: ",
    "null",
    "true",
    "1e9",
    "-",
    "--x",
    "--x--\r\n",
    "Content-Disposition: form-data; name=\"model\"\r\n\r\n",
    "\"model\":\"m\"",
    "\"error\":",
    "[DONE]",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "'",
    "(",
    "export A=",
    "\u{feff}",
    ".",
    "\0",
];

/// xorshift64*: the same runs everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        match end {
            0 => 0,
            end => usize::try_from(self.roll() % end as u64).unwrap(),
        }
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(otherwise, |value| value.parse().unwrap())
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut paths: Vec<PathBuf> = fs::read_dir(root.join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn mutate(input: &mut Vec<u8>, kept: &[Vec<u8>], dice: &mut Dice) {
    for _ in 0..=dice.below(6) {
        let at = dice.below(input.len() + 1);
        let end = (at + dice.below(32)).min(input.len());
        match dice.below(8) {
            0 if at < input.len() => input[at] ^= 1 << dice.below(8),
            1 if at < input.len() => input[at] = u8::try_from(dice.below(256)).unwrap(),
            2 => drop(input.drain(at..end)),
            3 => {
                let copy = input[at..end].to_vec();
                let to = dice.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            4 => {
                let other = &kept[dice.below(kept.len())];
                let from = dice.below(other.len() + 1);
                input.splice(at..end, other[from..].iter().copied());
            }
            5 => {
                let word = WORDS[dice.below(WORDS.len())];
                input.splice(
                    at..at,
                    word.bytes().cycle().take(word.len() * (1 + dice.below(64))),
                );
            }
            _ => {
                let word = WORDS[dice.below(WORDS.len())];
                input.splice(at..at, word.bytes());
            }
        }
    }
    input.truncate(LONGEST);
}

/// Shows the input that made a target panic.
fn run(name: &'static str, target: fn(&[u8]), input: &[u8]) {
    let ended = std::panic::catch_unwind(|| target(input));
    let text = String::from_utf8_lossy(input);
    assert!(ended.is_ok(), "{name}: {input:?}\n{text}");
}

#[test]
fn no_reader_of_foreign_bytes_panics() {
    let runs = number("OSTIA_FUZZ_RUNS", RUNS);
    let mut dice = Dice(number("OSTIA_FUZZ_SEED", 0x9e37_79b9_7f4a_7c15).max(1));
    let only = std::env::var("OSTIA_FUZZ_TARGETS").unwrap_or_default();
    let is_wanted = |name: &str| only.is_empty() || only.split(',').any(|one| one == name);
    let mut said = String::new();
    for (name, target) in TARGETS {
        if !is_wanted(name) {
            continue;
        }
        let kept = corpus(name);
        assert!(!kept.is_empty(), "{name} has no inputs in fuzz/corpus");
        let begun = SystemClock.now();
        for input in &kept {
            run(name, target, input);
        }
        for _ in 0..runs {
            let mut input = kept[dice.below(kept.len())].clone();
            mutate(&mut input, &kept, &mut dice);
            run(name, target, &input);
        }
        said += &format!(
            "{name}: {runs} executions in {:.1} s\n",
            (SystemClock.now() - begun).as_secs_f64()
        );
    }
    eprint!("{said}");
}

#[test]
fn every_target_is_there_for_cargo_fuzz_too() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let file = fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(file.contains(&format!("run(\"{name}\"")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
