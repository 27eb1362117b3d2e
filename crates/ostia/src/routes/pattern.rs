use super::is_reserved;
use super::table::RESERVED;
use crate::catalog::Scope;

/// The parts of a path that match a pattern's placeholders; empty if the pattern has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Captures<'a> {
    pub(super) cluster: &'a str,
    pub(super) framework: &'a str,
    /// As written.
    pub(super) model: Option<&'a str>,
    /// `{*name}`: the whole rest of the path, at least one character, as written. `{id}`: that segment.
    pub(super) rest: &'a str,
}

impl<'a> Captures<'a> {
    pub(super) fn scope(&self) -> Scope<'a> {
        match self.cluster {
            "" => Scope::Everywhere,
            cluster => Scope::Framework {
                cluster,
                framework: self.framework,
            },
        }
    }
}

/// No pattern has more segments.
const MOST: usize = 5;

/// A path split into segments, once for all patterns. Nothing is normalised.
pub(super) struct Segments<'a> {
    /// The first segments, each with the rest of the path from there on.
    first: [(&'a str, &'a str); MOST],
    /// How many there are; `MOST + 1` stands for any larger number.
    count: usize,
    /// The first segment may be a cluster's name and the second a framework's.
    names_cluster: bool,
    names_framework: bool,
}

impl<'a> Segments<'a> {
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let mut first = [("", ""); MOST];
        let mut count = 0;
        let mut left = Some(path.strip_prefix('/')?);
        while let Some(tail) = left {
            let slash = memchr::memchr(b'/', tail.as_bytes());
            let segment = slash.map_or(tail, |at| &tail[..at]);
            left = slash.map(|at| &tail[at + 1..]);
            count += 1;
            match first.get_mut(count - 1) {
                Some(place) => *place = (segment, tail),
                None => break,
            }
        }
        let [(cluster, _), (framework, _), ..] = first;
        Some(Self {
            first,
            count,
            names_cluster: sound(cluster) && !is_reserved(cluster),
            names_framework: sound(framework),
        })
    }
}

/// A route's pattern, parsed once.
pub(super) struct Pattern(Vec<Part>);

enum Part {
    Literal(&'static str),
    Cluster,
    Framework,
    Model,
    Reserved,
    Id,
    Rest,
}

impl Pattern {
    pub(super) fn of(pattern: &'static str) -> Self {
        let parts = pattern.split('/').skip(1).map(|part| match part {
            "{cluster}" => Part::Cluster,
            "{framework}" => Part::Framework,
            "{model}" => Part::Model,
            "{reserved}" => Part::Reserved,
            "{id}" => Part::Id,
            rest if rest.starts_with("{*") => Part::Rest,
            literal => Part::Literal(literal),
        });
        Self(parts.collect())
    }

    /// `None` if the path does not match. An empty segment, `.`, `..` or a segment with `%` matches only `{*name}`; one
    /// with `%` also matches a model's name.
    pub(super) fn captures<'a>(&self, path: &Segments<'a>) -> Option<Captures<'a>> {
        let open_ended = matches!(self.0.last(), Some(Part::Rest));
        if path.count != self.0.len() && !(open_ended && path.count > self.0.len()) {
            return None;
        }
        let mut captures = Captures::default();
        for (part, &(segment, tail)) in self.0.iter().zip(&path.first) {
            let fits = match part {
                Part::Literal(literal) => literal == &segment,
                Part::Cluster => {
                    captures.cluster = segment;
                    path.names_cluster
                }
                Part::Framework => {
                    captures.framework = segment;
                    path.names_framework
                }
                Part::Model => {
                    captures.model = Some(segment);
                    !matches!(segment, "" | "." | "..")
                }
                Part::Reserved => RESERVED.contains(&segment),
                Part::Id => {
                    captures.rest = segment;
                    sound(segment)
                }
                Part::Rest => {
                    captures.rest = tail;
                    !tail.is_empty()
                }
            };
            if !fits {
                return None;
            }
        }
        Some(captures)
    }
}

/// Whether a segment may be part of a backend's URL: no program reads it as anything but itself (`..;`, `..\admin`, `a;b`).
pub fn plain(segment: &str) -> bool {
    segment.bytes().any(|byte| byte != b'.')
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

pub(super) fn sound(segment: &str) -> bool {
    !segment.is_empty() && segment != "." && segment != ".." && !segment.contains('%')
}

#[cfg(test)]
mod tests {
    use super::super::ROUTES;
    use super::{Pattern, Segments};

    #[test]
    fn segments_and_the_rest() {
        let of = |pattern, path| {
            let found = Pattern::of(pattern).captures(&Segments::of(path)?)?;
            Some((found.cluster, found.framework, found.rest))
        };
        let scoped = "/{cluster}/{framework}/v1/models/{*id}";
        assert_eq!(of(scoped, "/c/f/v1/models/a/b"), Some(("c", "f", "a/b")));
        assert_eq!(of("/v1/models", "/v1/models"), Some(("", "", "")));
        for path in [
            "/c/f/v1/models",
            "/c/f/v1/models/",
            "/v1/f/v1/models/a",
            "/c/../v1/models/a",
            "/c//v1/models/a",
            "/%63/f/v1/models/a",
            "c/f/v1/models/a",
        ] {
            assert_eq!(of(scoped, path), None, "{path}");
        }
        assert_eq!(
            of(scoped, "/c/f/v1/models/a/b/c/d//"),
            Some(("c", "f", "a/b/c/d//"))
        );
        assert_eq!(of("/v1/{*api}", "/v1/a"), Some(("", "", "a")));
        assert_eq!(of("/v1/{reserved}", "/v1/files"), Some(("", "", "")));
        assert_eq!(of("/v1/{reserved}", "/v1/embeddings"), None);
    }

    #[test]
    fn no_pattern_is_longer_than_what_is_kept_of_a_path() {
        for entry in ROUTES {
            assert!(Pattern::of(entry.pattern).0.len() <= super::MOST);
        }
    }
}
