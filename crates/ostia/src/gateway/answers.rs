use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use crate::relay::ClientBody;
use crate::routes;

pub(crate) fn empty_answer() -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(crate) fn page_answer(page: String) -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::whole(page));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            routes::CONTENT_SECURITY_POLICY,
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(crate) fn json_answer(status: StatusCode, value: &Value) -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::whole(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
