use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use ostia_core::{Level, Measure, Scope, Standing};

use crate::admit::{Refused, Shortage};
use crate::authorize::Denied;
use crate::backend::AdapterError;
use crate::cluster::JobsError;
use crate::dialect::PLAIN;
use crate::fleet::ModelState;
use crate::identify::SignInError;
use crate::listen::Rejection;
use crate::rank::NotServing;
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
        waited: None,
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

fn header(refusal: Refusal, name: &str) -> Option<String> {
    let response = refusal.into_response(PLAIN);
    let value = response.headers().get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

#[test]
fn no_answer_asks_to_come_back_later_than_in_a_minute() {
    let refused = |seconds: f64| Refused {
        shortage: Shortage::Limit {
            scope: Scope::User,
            measure: Measure::Tokens,
        },
        retry_after: Duration::from_secs_f64(seconds),
        may_return: false,
        waited: None,
        standing: Standing::default(),
    };
    let starts = |seconds| NotServing::NotRunning {
        model: "m".into(),
        state: ModelState::Queued,
        unlisted: false,
        starts_in: Some(Duration::from_secs(seconds)),
    };
    let closed: std::sync::Arc<str> = "closed".into();
    for (refusal, wait) in [
        (Refusal::from(refused(0.2)), Some("1")),
        (refused(60.6).into(), Some("60")),
        (refused(75.0).into(), None),
        (starts(40).into(), Some("40")),
        (starts(7_200).into(), None),
        (Denied::Maintenance(closed).into(), Some("60")),
    ] {
        let message = refusal.message.clone();
        assert_eq!(header(refusal, "retry-after").as_deref(), wait, "{message}");
    }
}

#[test]
fn what_no_retry_can_help_says_so() {
    let refused =
        |status| Refusal::client(StatusCode::from_u16(status).unwrap(), "invalid_value", "no");
    for (refusal, is_final) in [
        (refused(400), true),
        (refused(422), true),
        (refused(409), false),
        (Refusal::from(SignInError::InvalidKey), true),
        (SignInError::Disabled.into(), true),
        (Denied::ModelNotFound.into(), true),
        (ReadError::Timeout.into(), false),
        (NotServing::NoneReady.into(), false),
        (NotServing::Disabled.into(), true),
        (refused(400).with_retry_after(Duration::from_secs(1)), false),
    ] {
        let message = refusal.message.clone();
        let said = header(refusal, "x-should-retry");
        assert_eq!(said.as_deref(), is_final.then_some("false"), "{message}");
    }
}

#[test]
fn a_wait_in_vain_is_in_the_head() {
    let refused = Refused {
        shortage: Shortage::EndpointsFull,
        retry_after: Duration::from_secs(1),
        may_return: true,
        waited: Some(Duration::from_millis(1_234)),
        standing: Standing::default(),
    };
    assert_eq!(
        header(refused.clone().into(), "x-ostia-queue-ms").as_deref(),
        Some("1234")
    );
    let at_once = Refused {
        waited: None,
        ..refused
    };
    assert_eq!(header(at_once.into(), "x-ostia-queue-ms"), None);
}
