use ostia_core::percent_decode;

/// The first value of a key in a query (`application/x-www-form-urlencoded`); `None` where there is none. What cannot be
/// decoded stands for itself.
pub fn query_value(query: &str, key: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name) == key).then(|| decode(value))
    })
}

fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    match percent_decode(&text) {
        Some(decoded) => decoded.into_owned(),
        None => text,
    }
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
            ("model_id=%ff", Some("%ff")),
            ("model_id=%+5", Some("% 5")),
            ("other=1", None),
            ("", None),
        ] {
            assert_eq!(query_value(query, "model_id").as_deref(), value, "{query}");
        }
    }
}
