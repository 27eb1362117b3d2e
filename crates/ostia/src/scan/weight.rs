use super::keys::{FieldKey, Role};
use super::spot::Spot;

/// What a string costs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// By its bytes.
    Text,
    /// As much as one image, however long it is.
    Medium,
    /// One of them: the type of its source says which.
    Data,
}

/// Shorter strings cost less as text than as a medium.
const SHORTEST_MEDIUM: usize = 4096;
/// The type of a data URL is within so many bytes.
const LONGEST_TYPE: usize = 128;

/// Only where the API has a medium is a string one. Everywhere else it is text, whatever it looks like: a model reads
/// it as text.
pub(super) fn weigh(key: FieldKey, spot: Spot, inner: &[u8]) -> Weight {
    let is_long = inner.len() >= SHORTEST_MEDIUM;
    if matches!(key.role(), Role::Tensors) {
        return if is_long {
            Weight::Medium
        } else {
            Weight::Text
        };
    }
    if !spot.is_link() && spot != Spot::PartUrl {
        return Weight::Text;
    }
    let names_a_server = matches!(key.spot(), Spot::Tools | Spot::McpServers);
    match (data_url(inner), spot) {
        (Some(weight), _) => weight,
        (None, Spot::Url) if !inner.is_empty() && !names_a_server => Weight::Medium,
        // Neither base64 nor a URL has spaces.
        (None, Spot::Data | Spot::Part | Spot::File) if memchr::memchr(b' ', inner).is_some() => {
            Weight::Text
        }
        (None, Spot::Data) if is_long => Weight::Data,
        (None, Spot::Source | Spot::Part | Spot::File) if is_long => Weight::Medium,
        _ => Weight::Text,
    }
}

/// That of a data URL; `None` if it is none.
fn data_url(inner: &[u8]) -> Option<Weight> {
    let (scheme, rest) = inner.split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case(b"data:") {
        return None;
    }
    let begin = &rest[..rest.len().min(LONGEST_TYPE)];
    let end = memchr::memchr(b',', begin);
    let kind = begin.get(..end?)?.to_ascii_lowercase();
    match kind.ends_with(b";base64") && !kind.starts_with(b"text/") {
        true => Some(Weight::Medium),
        false => Some(Weight::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(spot: Spot, text: &str) -> Weight {
        weigh(FieldKey::prompt("messages"), spot, text.as_bytes())
    }

    #[test]
    fn a_medium_counts_as_one_where_media_stand() {
        let image = format!("data:image/png;base64,{}", "A".repeat(9_000));
        let base64 = "A".repeat(9_000);
        for (spot, text, expected) in [
            (Spot::Url, image.as_str(), Weight::Medium),
            (Spot::Url, "https://example.org/a.png", Weight::Medium),
            (Spot::Url, "", Weight::Text),
            (Spot::PartUrl, &image, Weight::Medium),
            (Spot::PartUrl, "https://example.org", Weight::Text),
            (Spot::Source, &base64, Weight::Medium),
            (Spot::Source, "AAAA", Weight::Text),
            (Spot::Data, &base64, Weight::Data),
            (Spot::Data, &image, Weight::Medium),
            (Spot::File, &base64, Weight::Medium),
        ] {
            assert_eq!(weight(spot, text), expected, "{spot:?} {text:.40}");
        }
    }

    #[test]
    fn what_looks_like_a_medium_elsewhere_is_text() {
        let long = "word_".repeat(2_000);
        let plain = "a text ".repeat(2_000);
        for (spot, text) in [
            (Spot::Content, format!("data:image/png;base64,{long}")),
            (Spot::Elsewhere, format!("data:{long}")),
            (Spot::Content, long.clone()),
            (Spot::Url, format!("data:text/plain;base64,{long}")),
            (Spot::Data, format!("data:,{long}")),
            (Spot::Data, plain.clone()),
            (Spot::Part, plain),
        ] {
            assert_eq!(weight(spot, &text), Weight::Text, "{spot:?} {text:.40}");
        }
        let tools = FieldKey::counted("tools").at(Spot::Tools);
        assert_eq!(weigh(tools, Spot::Url, b"https://x.org"), Weight::Text);
    }
}
