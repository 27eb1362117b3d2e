use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

use crate::dialect::Dialect;
use crate::refusal::Refusal;
use crate::relay::ClientBody;

impl Refusal {
    /// The answer in the client's dialect.
    pub fn into_response(self, dialect: Dialect) -> Response<ClientBody> {
        let body = match &self.body {
            Some(body) if dialect == Dialect::Anthropic => self.in_anthropics_words(body),
            Some(body) => body.clone(),
            None => self.to_json(dialect).to_string().into(),
        };
        let mut response = Response::new(ClientBody::whole(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }

    /// A backend's error as Anthropic's clients read it: unchanged if it has that shape already, else with what it says
    /// in ours.
    fn in_anthropics_words(&self, body: &Bytes) -> Bytes {
        let mut error: Value = serde_json::from_slice(body).unwrap_or_default();
        let has_word = error["error"]["type"]
            .as_str()
            .is_some_and(|kind| ANTHROPIC_KINDS.contains(&kind));
        if error["type"] == "error" && has_word {
            return body.clone();
        }
        let Some(inner) = error["error"].as_object_mut() else {
            return self.to_json(Dialect::Anthropic).to_string().into();
        };
        if !has_word {
            inner.insert(
                "type".to_owned(),
                anthropic_kind(self.status.as_u16()).into(),
            );
        }
        if !inner.get("message").is_some_and(Value::is_string) {
            inner.insert("message".to_owned(), self.message.as_ref().into());
        }
        error["type"] = "error".into();
        error.to_string().into()
    }

    fn to_json(&self, dialect: Dialect) -> Value {
        let mut error = json!({
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        });
        if let Some(info) = &self.info {
            error["info"] = info.clone();
        }
        if dialect != Dialect::Anthropic {
            return json!({ "error": error });
        }
        error["type"] = anthropic_kind(self.status.as_u16()).into();
        json!({ "type": "error", "error": error })
    }
}

/// Anthropic's words for `error.type` (API reference, "Errors").
const ANTHROPIC_KINDS: [&str; 10] = [
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "timeout_error",
    "overloaded_error",
];

/// The word for a status.
fn anthropic_kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;
    use serde_json::{Value, json};

    use crate::refusal::Refusal;

    fn relayed(status: u16, body: &Value) -> Value {
        let status = StatusCode::from_u16(status).unwrap();
        let mut refusal = Refusal::client(
            StatusCode::BAD_REQUEST,
            "invalid_value",
            "The server refused.",
        );
        refusal.status = status;
        let bytes = refusal.in_anthropics_words(&Bytes::from(body.to_string()));
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn anthropics_own_errors_pass_byte_for_byte() {
        let body = Bytes::from_static(
            br#"{ "type":"error", "error":{"type":"overloaded_error","message":"x"},"request_id":"r" }"#,
        );
        let refusal = Refusal::client(StatusCode::BAD_REQUEST, "invalid_value", "no");
        assert_eq!(refusal.in_anthropics_words(&body), body);
    }

    #[test]
    fn other_errors_are_told_in_anthropics_words() {
        for (status, kind, word) in [
            (400, "BadRequestError", "invalid_request_error"),
            (404, "NotFoundError", "not_found_error"),
            (413, "x", "request_too_large"),
            (429, "rate_limit_error", "rate_limit_error"),
            (503, "ServiceUnavailable", "overloaded_error"),
        ] {
            let openai =
                json!({"error": {"message": "too long", "type": kind, "code": 400, "param": null}});
            let told = relayed(status, &openai);
            assert_eq!(told["type"], "error");
            assert_eq!(told["error"]["type"], word, "{status}");
            assert_eq!(told["error"]["message"], "too long");
            assert_eq!(told["error"]["code"], 400);
        }
        let silent = relayed(400, &json!({"error": {}}));
        assert_eq!(silent["error"]["message"], "The server refused.");
    }
}
