use bytes::Bytes;
use http::StatusCode;

use super::codes::is_known;
use super::{ERROR_CODES, Fault, Refusal};
use crate::relay::{BackendRefusal, RefusalText, RelayError};

#[test]
fn every_code_stands_once_and_says_something() {
    for (index, error) in ERROR_CODES.iter().enumerate() {
        let code = error.code;
        assert!(!error.meaning.is_empty(), "{code}");
        let earlier = &ERROR_CODES[..index];
        assert!(earlier.iter().all(|other| other.code != code), "{code}");
        assert!(
            is_known(code, error.statuses.first().copied().unwrap_or(418)),
            "{code}"
        );
    }
    assert!(!is_known("invalid_json", 404));
    assert!(!is_known("no_such_code", 400));
}

#[test]
#[should_panic(expected = "missing in error/codes.rs")]
fn a_refusal_whose_code_is_in_no_table_stops_the_test_that_meets_it() {
    let _ = Refusal::client(StatusCode::BAD_REQUEST, "no_such_code", "no");
}

#[test]
fn every_fault_of_an_answer_is_in_the_table() {
    for fault in [
        Fault::Closed,
        Fault::Invalid,
        Fault::Empty,
        Fault::NotJson,
        Fault::IdleTimeout,
        Fault::TotalTimeout,
        Fault::ShuttingDown,
    ] {
        let refusal = Refusal::from(RelayError::Fault(fault));
        assert_eq!(refusal.code, fault.code());
    }
}

#[test]
fn operators_are_told_of_a_path_that_the_backend_does_not_have() {
    let not_found = |text| {
        let refusal = BackendRefusal {
            status: StatusCode::NOT_FOUND,
            text,
            headers: Vec::new(),
        };
        let refusal = Refusal::from(RelayError::Backend(refusal)).at("lab-vllm-m");
        refusal.detail.unwrap()
    };
    let hint = "is the path of api_url right?";
    let web_server = not_found(RefusalText::Message("Not Found".to_owned()));
    assert!(
        web_server.starts_with("endpoint lab-vllm-m: "),
        "{web_server}"
    );
    assert!(web_server.contains(hint), "{web_server}");
    assert!(not_found(RefusalText::Withheld).contains(hint));
    let engine = Bytes::from_static(br#"{"error":{"message":"The model does not exist."}}"#);
    assert!(!not_found(RefusalText::Whole(engine)).contains(hint));
}
