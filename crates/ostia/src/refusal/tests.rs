use http::StatusCode;

use super::codes::is_known;
use super::{ERROR_CODES, Refusal};

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
#[should_panic(expected = "missing from refusal/codes.rs")]
fn a_refusal_whose_code_is_in_no_table_stops_the_test_that_meets_it() {
    let _ = Refusal::client(StatusCode::BAD_REQUEST, "no_such_code", "no");
}
