use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use ostia_core::{Level, Measure, Scope, Standing};

use crate::admit::{Refused, Shortage};
use crate::backend::AdapterError;
use crate::cluster::JobsError;
use crate::listen::Rejection;
use crate::read::ReadError;
use crate::refusal::{AnswerFault, Refusal};
use crate::relay::{BackendRefusal, RefusalText, RelayError, Told};

#[test]
fn every_fault_of_an_answer_is_in_the_table() {
    for fault in [
        AnswerFault::Closed,
        AnswerFault::Invalid,
        AnswerFault::Empty,
        AnswerFault::NotJson,
        AnswerFault::Withheld,
        AnswerFault::IdleTimeout,
        AnswerFault::TotalTimeout,
        AnswerFault::ShuttingDown,
        AnswerFault::Dismissed,
    ] {
        let refusal = Refusal::from(RelayError::Fault(fault));
        assert_eq!(refusal.code, fault.code());
    }
}

#[test]
fn what_an_adapter_says_is_one_line() {
    let (message, code) = ("no\r\nX-Evil: 1\u{2028}\0end é", "a\r\nb");
    let endpoint = Refusal::from(AdapterError::refusal(400, message, code));
    let cluster = JobsError::new(message).with_status(StatusCode::BAD_REQUEST);
    for refusal in [endpoint, cluster.with_code(code).into()] {
        let told = (&*refusal.message, &*refusal.code);
        assert_eq!(told, ("no  X-Evil: 1  end é", "a__b"));
    }
}

#[test]
fn the_log_says_which_limit_was_reached_and_its_numbers() {
    let refused = |scope, measure, standing| Refused {
        shortage: Shortage::Limit { scope, measure },
        retry_after: Duration::from_millis(11_200),
        may_return: false,
        standing,
    };
    let level = Level {
        scope: Scope::UserEndpoint,
        measure: Measure::Tokens,
        limit: 2_000,
        used: 1_990,
        owed: 30,
        reset: Duration::from_secs(60),
    };
    let standing = Standing {
        levels: vec![level],
    };
    let said = |refused: Refused| Refusal::from(refused).detail.unwrap();
    assert_eq!(
        said(refused(Scope::UserEndpoint, Measure::Tokens, standing)),
        "limit user_endpoint tokens_per_minute: 2000, used 1990, owed 30, free in 12 s"
    );
    assert_eq!(
        said(refused(
            Scope::Address,
            Measure::Requests,
            Standing::default()
        )),
        "limit address requests_per_second, free in 12 s"
    );
    let body = ReadError::RefusedTooMuch {
        wait: Duration::from_secs(3),
        rate: 100,
        level: 399,
    };
    assert_eq!(
        Refusal::from(body).detail.unwrap(),
        "limit user refused_bytes_per_second: 100, used 399, free in 3 s"
    );
    assert_eq!(
        Refusal::from(Rejection::TooMany { most: 64 })
            .detail
            .unwrap(),
        "limit address in_flight: 64"
    );
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
    let said = |code| {
        let message = "Not Found".to_owned();
        let param = None;
        RefusalText::Told(Told {
            message,
            code,
            param,
        })
    };
    let web_server = not_found(said(None));
    assert!(
        web_server.starts_with("endpoint lab-vllm-m: "),
        "{web_server}"
    );
    assert!(web_server.contains(hint), "{web_server}");
    assert!(not_found(RefusalText::Withheld).contains(hint));
    let engine = Bytes::from_static(br#"{"error":{"message":"The model does not exist."}}"#);
    assert!(!not_found(RefusalText::Whole(engine)).contains(hint));
    assert!(!not_found(said(Some(404.into()))).contains(hint));
}
