/// The first value of a key in a query (`application/x-www-form-urlencoded`); `None` where there is none, or where it is
/// no UTF-8.
pub fn query_value(query: &str, key: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(name)? != key {
            return None;
        }
        decode(value)
    })
}

fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::query_value;

    #[test]
    fn values_are_decoded() {
        for (query, value) in [
            ("model_id=a", Some("a")),
            ("x=1&model_id=org%2Fname", Some("org/name")),
            ("model_id=org/name", Some("org/name")),
            ("model_id=a+b%2B", Some("a b+")),
            ("model%5Fid=a", Some("a")),
            ("model_id=%zz%4", Some("%zz%4")),
            ("model_id", Some("")),
            ("model_id=%ff", None),
            ("other=1", None),
            ("", None),
        ] {
            assert_eq!(query_value(query, "model_id").as_deref(), value, "{query}");
        }
    }
}
