use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

use super::{Fault, Refusal};
use crate::read::Dialect;
use crate::relay::ClientBody;

impl Refusal {
    /// The answer in the client's dialect.
    pub fn into_response(self, dialect: Dialect) -> Response<ClientBody> {
        let body = self
            .body
            .clone()
            .unwrap_or_else(|| Bytes::from(self.to_json(dialect).to_string()));
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

/// The event that ends a broken stream, in the words of the client's dialect.
pub fn broken_stream_event(dialect: Dialect, fault: Fault) -> Bytes {
    let (code, message) = (fault.code(), fault.message());
    let kind = match fault {
        Fault::IdleTimeout | Fault::TotalTimeout => "timeout_error",
        Fault::ShuttingDown => "server_error",
        _ => "upstream_error",
    };
    let text = match dialect {
        Dialect::OpenAi => {
            let error =
                json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
            format!("data: {error}\n\n")
        }
        Dialect::Responses => {
            let error = json!({"type": "error", "code": code, "message": message, "param": null});
            format!("event: error\ndata: {error}\n\n")
        }
        Dialect::Anthropic => {
            let error = json!({"type": "error", "error": {"type": "api_error", "message": message, "code": code}});
            format!("event: error\ndata: {error}\n\n")
        }
    };
    text.into()
}

/// Anthropic's words for `error.type` (API reference, "Errors").
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
