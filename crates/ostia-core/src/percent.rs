use std::borrow::Cow;

/// Undoes percent-encoding, once (RFC 3986, section 2.1). `None` for what is no UTF-8, or no encoding: each `%` is followed
/// by two hexadecimal digits.
pub fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else {
            return None;
        };
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::percent_decode;

    #[test]
    fn texts_are_decoded_once() {
        for (text, decoded) in [
            ("plain/name", Some("plain/name")),
            ("meta-llama%2FLlama%2f", Some("meta-llama/Llama/")),
            ("a%252Fb", Some("a%2Fb")),
            ("caf%C3%A9+", Some("café+")),
            ("%FF", None),
            ("%", None),
            ("%2", None),
            ("%+1", None),
            ("%zz", None),
            ("%é", None),
        ] {
            assert_eq!(percent_decode(text).as_deref(), decoded, "{text}");
        }
    }
}
