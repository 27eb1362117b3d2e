use serde_json::{Map, Value};

/// The object in a file, or an empty one.
pub(super) fn object(before: Option<&str>) -> Result<Value, String> {
    let text = before.unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => Ok(Value::Object(members)),
        _ => Err("is not a JSON object without comments, so it is left alone".to_owned()),
    }
}

/// Sets the value at a path of names. Replaces whatever on the path is not an object.
pub(super) fn set(object: &mut Value, path: &[&str], value: impl Into<Value>) {
    let mut place = object;
    for name in path {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[*name];
    }
    *place = value.into();
}

pub(super) fn text(object: &Value) -> String {
    format!("{object:#}\n")
}
