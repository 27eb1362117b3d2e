use unicode_normalization::UnicodeNormalization;

/// The endpoint slug of a deployment: Django's `slugify` of "cluster framework model" in lower case.
pub fn slug(cluster: &str, framework: &str, model: &str) -> String {
    slugify(&format!("{cluster} {framework} {model}").to_lowercase())
}

/// Django's `slugify` with `allow_unicode=False`: reduces NFKD to ASCII, lowers the case, and drops everything but word
/// characters, spaces and hyphens. Runs of spaces and hyphens become one hyphen, and `-_` are stripped from the ends.
pub(crate) fn slugify(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    let mut gap = false;
    for character in text.nfkd().filter(char::is_ascii) {
        match character.to_ascii_lowercase() {
            word @ ('a'..='z' | '0'..='9' | '_') => {
                if std::mem::take(&mut gap) {
                    slug.push('-');
                }
                slug.push(word);
            }
            '-' => gap = true,
            space if is_python_space(space) => gap = true,
            _ => {}
        }
    }
    slug.trim_matches(['-', '_']).to_owned()
}

/// ASCII characters that Python's `\s` matches, which are more than `is_ascii_whitespace`.
const fn is_python_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r' | '\x1c'..='\x1f')
}

#[cfg(test)]
mod tests {
    use super::{slug, slugify};

    #[test]
    fn the_documented_example() {
        assert_eq!(
            slug(
                "my-cluster",
                "my-framework",
                "meta-llama/Meta-Llama-3.1-70B-Instruct"
            ),
            "my-cluster-my-framework-meta-llamameta-llama-31-70b-instruct"
        );
    }

    #[test]
    fn djangos_rules() {
        for (text, expected) in [
            ("Hello, World! and & then", "hello-world-and-then"),
            ("  multiple---dash and  space ", "multiple-dash-and-space"),
            ("\t whitespace-in-value \n", "whitespace-in-value"),
            ("underscore_in-value", "underscore_in-value"),
            ("__strip__underscore-value___", "strip__underscore-value"),
            ("--strip-dash-value---", "strip-dash-value"),
            ("__strip-mixed-value---", "strip-mixed-value"),
            ("_ -strip-mixed-value _-", "strip-mixed-value"),
            ("spam & ıçüş", "spam-cus"),
            ("foo ıç bar", "foo-c-bar"),
            ("ﬁne \u{2460} x\u{1d400}", "fine-1-xa"),
            ("a\u{1c}b", "a-b"),
            ("模型", ""),
            ("", ""),
        ] {
            assert_eq!(slugify(text), expected, "{text:?}");
        }
    }

    #[test]
    fn parts_join_at_hyphens() {
        assert_eq!(slug("c", "f", "-m"), "c-f-m");
        assert_eq!(slug("C", "F", "_m"), "c-f-_m");
    }
}
