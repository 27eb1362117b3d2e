//! The smallest value that a simple JSON Schema accepts.

use std::cell::Cell;

use serde_json::{Map, Value, json};

/// Limits schemas that refer to themselves.
const DEEPEST: usize = 16;
/// Limits schemas of nested lists.
const MOST_VALUES: usize = 10_000;

/// Unknown parts of a schema become `null`.
pub(crate) fn smallest(schema: &Value) -> Value {
    value(schema, schema, 0, &Cell::new(0))
}

fn value(schema: &Value, root: &Value, depth: usize, made: &Cell<usize>) -> Value {
    made.set(made.get() + 1);
    if depth > DEEPEST || made.get() > MOST_VALUES {
        return Value::Null;
    }
    let inner = |schema: &Value| value(schema, root, depth + 1, made);
    if let Some(reference) = schema["$ref"].as_str() {
        let target = reference.strip_prefix('#').and_then(|at| root.pointer(at));
        return target.map_or(Value::Null, inner);
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[choice].get(0) {
            return inner(first);
        }
    }
    match kind(schema) {
        "object" => object(schema, inner),
        "array" => {
            let count = schema["minItems"].as_u64().unwrap_or(0).min(64);
            (0..count).map(|_| inner(&schema["items"])).collect()
        }
        "string" => string(schema),
        "integer" | "number" => number(schema),
        "boolean" => json!(true),
        _ => Value::Null,
    }
}

fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null")
            .unwrap_or("null"),
        _ if schema.get("properties").is_some() => "object",
        _ => "null",
    }
}

fn object(schema: &Value, inner: impl Fn(&Value) -> Value) -> Value {
    let required = schema["required"].as_array();
    let is_required = |name: &str| {
        required.is_none_or(|required| required.iter().any(|wanted| wanted.as_str() == Some(name)))
    };
    let properties = schema["properties"].as_object();
    let members: Map<String, Value> = properties
        .into_iter()
        .flatten()
        .filter(|(name, _)| is_required(name))
        .map(|(name, schema)| (name.clone(), inner(schema)))
        .collect();
    Value::Object(members)
}

fn string(schema: &Value) -> Value {
    let text = match schema["format"].as_str() {
        Some("date-time") => "2026-01-01T00:00:00Z",
        Some("date") => "2026-01-01",
        Some("email") => "demo@example.org",
        Some("uri") => "https://example.org/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => "demo",
    };
    let least = schema["minLength"].as_u64().unwrap_or(0).min(4096) as usize;
    let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let padded = format!("{text:x<least$}");
    padded.chars().take(most).collect::<String>().into()
}

fn number(schema: &Value) -> Value {
    let above = schema["exclusiveMinimum"].as_i64().map(|least| least + 1);
    let least = schema["minimum"].as_i64().or(above).unwrap_or(0);
    let most = schema["maximum"].as_i64().unwrap_or(i64::MAX);
    json!(least.max(0).min(most.max(least)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::smallest;

    #[test]
    fn the_smallest_value_of_simple_schemas() {
        let verdict = json!({"type": "object", "required": ["colour", "certain"], "properties": {
            "colour": {"type": "string", "enum": ["red", "green"]}, "certain": {"type": "boolean"}, "more": {"type": "string"},
        }});
        assert_eq!(
            smallest(&verdict),
            json!({"colour": "red", "certain": true})
        );
        for (schema, expected) in [
            (
                json!({"type": "array", "minItems": 2, "items": {"type": "integer", "minimum": 3}}),
                json!([3, 3]),
            ),
            (
                json!({"type": ["null", "string"], "minLength": 6}),
                json!("demoxx"),
            ),
            (
                json!({"$ref": "#/$defs/a", "$defs": {"a": {"const": 7}}}),
                json!(7),
            ),
            (
                json!({"anyOf": [{"type": "number"}, {"type": "null"}]}),
                json!(0),
            ),
            (
                json!({"properties": {"a": {"type": "null"}}}),
                json!({"a": null}),
            ),
            (json!(true), json!(null)),
        ] {
            assert_eq!(smallest(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_holds_itself_ends() {
        let endless =
            json!({"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}});
        assert!(smallest(&endless).is_object());
    }

    #[test]
    fn lists_of_lists_of_lists_end() {
        let list = json!({"type": "array", "minItems": 64, "items": {"$ref": "#"}});
        let text = smallest(&list).to_string();
        assert!(text.len() < 1_000_000, "{}", text.len());
    }
}
