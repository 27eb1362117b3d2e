use crate::scan::{FieldKey, ScanError, ScanErrorKind};

use super::MODEL;

/// The body has a value that the gateway cannot act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// `invalid_json`, `missing_model`, `invalid_value` or `missing_required_parameter`.
    pub code: &'static str,
    /// The key at fault; `None` if it is the body as a whole.
    pub param: Option<&'static str>,
    pub message: String,
}

impl Invalid {
    pub fn missing_model() -> Self {
        Self {
            code: "missing_model",
            param: Some(MODEL.name()),
            message: "You must provide a model parameter: a non-empty string. `GET /v1/models` lists the models that you may use.".to_owned(),
        }
    }

    pub fn missing(key: FieldKey) -> Self {
        Self {
            code: "missing_required_parameter",
            param: Some(key.name()),
            message: format!("Missing required parameter: '{key}'."),
        }
    }

    pub fn value(key: FieldKey, why: &str) -> Self {
        Self {
            code: "invalid_value",
            param: Some(key.name()),
            message: format!("Invalid value for '{key}': {why}."),
        }
    }

    pub fn form(why: &str) -> Self {
        Self {
            code: "invalid_value",
            param: None,
            message: format!("The request body is not valid multipart/form-data: {why}."),
        }
    }

    fn json(why: &str) -> Self {
        Self {
            code: "invalid_json",
            param: None,
            message: format!("We could not parse the JSON body of your request: {why}."),
        }
    }
}

impl From<ScanError> for Invalid {
    fn from(error: ScanError) -> Self {
        match error.fault {
            ScanErrorKind::Repeated(key) => Self::value(key, "the key is given more than once"),
            ScanErrorKind::OtherLetters(key) => {
                Self::value(key, "the key must be written in lower case, and only once")
            }
            ScanErrorKind::NotAnObject => Self::json("it must be a JSON object"),
            _ => Self::json(&error.to_string()),
        }
    }
}
