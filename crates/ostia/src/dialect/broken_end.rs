use bytes::Bytes;
use serde_json::json;

use super::Dialect;
use crate::refusal::Fault;

/// The event that ends a broken stream, in the words of the client's dialect.
///
/// `events`: how many came before it, which `responses` counts.
pub fn broken_stream_event(dialect: Dialect, fault: Fault, events: u64) -> Bytes {
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
            // The reference has the members at the top, the API itself sends `error`, which is what SDKs raise for.
            let error = json!({
                "type": "error", "code": code, "message": message, "param": null, "sequence_number": events,
                "error": {"type": kind, "code": code, "message": message, "param": null},
            });
            format!("event: error\ndata: {error}\n\n")
        }
        Dialect::Anthropic => {
            let error = json!({"type": "error", "error": {"type": "api_error", "message": message, "code": code}});
            format!("event: error\ndata: {error}\n\n")
        }
    };
    text.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Dialect, Fault, broken_stream_event};

    #[test]
    fn the_last_event_speaks_the_dialect() {
        let event = |dialect| {
            let bytes = broken_stream_event(dialect, Fault::Closed, 7);
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let (head, data) = text.split_once("data: ").unwrap();
            assert!(data.ends_with("\n\n"));
            (
                head.to_owned(),
                serde_json::from_str::<Value>(data).unwrap(),
            )
        };
        let (head, openai) = event(Dialect::OpenAi);
        assert_eq!(
            (&*head, &openai["error"]["code"]),
            ("", &json!("upstream_closed"))
        );
        let (head, anthropic) = event(Dialect::Anthropic);
        assert_eq!(
            (&*head, &anthropic["type"]),
            ("event: error\n", &json!("error"))
        );
        assert_eq!(anthropic["error"]["type"], "api_error");
        let (head, responses) = event(Dialect::Responses);
        assert_eq!(
            (&*head, &responses["type"]),
            ("event: error\n", &json!("error"))
        );
        assert_eq!(responses["sequence_number"], 7);
        assert_eq!(responses["code"], responses["error"]["code"]);
    }
}
