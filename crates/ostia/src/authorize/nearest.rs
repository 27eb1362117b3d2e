use std::collections::BTreeSet;

/// Names that a caller may use, to suggest in place of one that does not exist or must not be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nearest {
    /// At most three, the nearest first.
    pub names: Vec<String>,
    /// Whether they are similar enough to have been meant.
    pub alike: bool,
}

const MOST: usize = 3;
/// Only this much of a name, and this many names, are compared, so that comparing stays cheap.
const LONGEST: usize = 96;
const MOST_COMPARED: usize = 2_000;

impl Nearest {
    /// The similar ones. A few names are all suggested, whatever was asked for: then refusals of a forbidden and of an
    /// absent name differ in nothing but that name.
    pub(super) fn of<'a>(asked: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known: BTreeSet<&str> = known.take(MOST_COMPARED).collect();
        if known.len() <= MOST {
            return Self {
                names: known.into_iter().map(str::to_owned).collect(),
                alike: false,
            };
        }
        let asked = Spelling::of(asked);
        let mut alike: Vec<(usize, &str)> = known
            .iter()
            .filter_map(|name| Some((asked.distance(&Spelling::of(name))?, *name)))
            .collect();
        alike.sort_unstable();
        let names = alike.into_iter().map(|(_, name)| name.to_owned());
        let names: Vec<String> = names.take(MOST).collect();
        Self {
            alike: !names.is_empty(),
            names,
        }
    }
}

/// The part of a name that is compared: letters and digits, in lower case. `bare`: without the organization before the
/// last slash.
struct Spelling {
    whole: String,
    bare: String,
}

impl Spelling {
    fn of(name: &str) -> Self {
        let plain = |text: &str| -> String {
            let letters = text.chars().filter(|letter| letter.is_alphanumeric());
            letters.flat_map(char::to_lowercase).take(LONGEST).collect()
        };
        let bare = name.rsplit('/').next().unwrap_or(name);
        Self {
            whole: plain(name),
            bare: plain(bare),
        }
    }

    /// `None`: too far apart to have been confused.
    fn distance(&self, other: &Self) -> Option<usize> {
        if self.whole == other.whole {
            return Some(0);
        }
        if self.bare == other.bare {
            return Some(1);
        }
        let (short, long) = match self.bare.len() < other.bare.len() {
            true => (&self.bare, &other.bare),
            false => (&other.bare, &self.bare),
        };
        let limit = (long.len() / 3).max(1);
        let holds_whole = other.whole.len() >= 6 && self.whole.contains(&other.whole);
        if holds_whole || short.len() >= 3 && long.contains(short.as_str()) {
            return Some(2);
        }
        let edits = (long.len() - short.len() <= limit)
            .then(|| strsim::osa_distance(&self.bare, &other.bare))?;
        (edits <= limit).then_some(2 + edits)
    }
}

#[cfg(test)]
mod tests {
    use super::Nearest;

    fn near(asked: &str, known: &[&str]) -> (Vec<String>, bool) {
        let Nearest { names, alike } = Nearest::of(asked, known.iter().copied());
        (names, alike)
    }

    #[test]
    fn slips_of_the_pen_are_recognised() {
        let known = [
            "demo",
            "meta-llama/Llama-3.1-8B",
            "meta-llama/Llama-3.1-70B",
            "bge-m3",
            "qwen",
        ];
        for (asked, meant) in [
            ("demos", "demo"),
            ("Demo", "demo"),
            ("dmo", "demo"),
            ("deom", "demo"),
            ("llama-3.1-8b", "meta-llama/Llama-3.1-8B"),
            ("openai/bge_m3", "bge-m3"),
            ("qwen:latest", "qwen"),
            ("meta-llama/Llama-3.1-8B/v1", "meta-llama/Llama-3.1-8B"),
        ] {
            let (names, alike) = near(asked, &known);
            assert!(alike && names[0] == meant, "{asked}: {names:?}");
            assert!(names.len() <= 3);
        }
        assert_eq!(near("whisper-large", &known), (Vec::new(), false));
        assert_eq!(near("", &known), (Vec::new(), false));
    }

    #[test]
    fn a_short_list_is_named_whole() {
        for asked in ["gpt-4o", "dmo", "demo-secret"] {
            assert_eq!(near(asked, &["demo"]), (vec!["demo".to_owned()], false));
        }
        assert_eq!(near("gpt-4o", &[]), (Vec::new(), false));
    }

    #[test]
    fn hostile_names_cost_little() {
        let long = "x".repeat(1 << 20);
        let known: Vec<String> = (0..5_000).map(|n| format!("model-{n}")).collect();
        let found = Nearest::of(&long, known.iter().map(String::as_str));
        assert!(found.names.is_empty());
    }
}
