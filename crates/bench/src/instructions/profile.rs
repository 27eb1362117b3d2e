//! Reads callgrind's files.

use std::collections::HashMap;

/// Instructions of each function with everything that it called.
pub struct Profile(HashMap<String, u64>);

impl Profile {
    /// The text of a file as callgrind writes it: blocks of one function each, with lines of costs, its own and those of
    /// calls. A name is written once, with a number that stands for it afterwards.
    pub fn read(text: &str) -> Self {
        let mut names = HashMap::new();
        let mut costs: HashMap<&str, u64> = HashMap::new();
        let mut current = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                current = resolve(name, &mut names);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                resolve(name, &mut names);
            } else if line
                .starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first))
            {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok());
                *costs.entry(current).or_default() += cost.unwrap_or(0);
            }
        }
        let owned = |(name, cost): (&str, u64)| (name.to_owned(), cost);
        Self(costs.into_iter().map(owned).collect())
    }

    /// `None`: it was not called. Meaningless for a function that calls itself.
    pub fn of(&self, function: &str) -> Option<u64> {
        self.0.get(function).copied().filter(|cost| *cost > 0)
    }
}

/// `(7) name` gives a name to a number, `(7)` repeats it.
fn resolve<'a>(written: &'a str, names: &mut HashMap<&'a str, &'a str>) -> &'a str {
    match written.split_once(' ') {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names.get(written).copied().unwrap_or(written),
    }
}

#[cfg(test)]
mod tests {
    use super::Profile;

    #[test]
    fn calls_count_for_the_caller_whatever_file_the_lines_are_from() {
        let text = "\
version: 1
events: Ir

fl=(1) /a.rs
fn=(1) a::outer::{{closure}}
16 4
fi=(2) /inlined.rs
+3 5
fe=(1)
cfn=(2) b::inner
calls=3 20
* 60
-2 1

fl=(2)
fn=(2)
20 50
cfn=(3) c
calls=1 1
21 10

fn=(1)
30 7

totals: 77
";
        let profile = Profile::read(text);
        assert_eq!(profile.of("a::outer::{{closure}}"), Some(77));
        assert_eq!(profile.of("b::inner"), Some(60));
        assert_eq!(profile.of("c"), None, "its own costs are not in the file");
        assert_eq!(profile.of("outer"), None);
    }
}
