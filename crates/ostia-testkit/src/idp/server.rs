use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use ostia_engine::serve;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::answers;
use super::form::Form;
use super::state::{Call, Mood, State};
use crate::ports::loopback;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The connection is closed without an answer.
#[derive(Debug)]
struct HangUp;

impl std::fmt::Display for HangUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hung up")
    }
}

impl std::error::Error for HangUp {}

pub(super) async fn start(state: Arc<State>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(loopback(0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = serve(listener, move |request| {
        respond(request, Arc::clone(&state))
    });
    (address, ostia::runtime::spawn(serving))
}

async fn respond(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, HangUp> {
    if *state.mood().borrow() == Mood::Down {
        return Err(HangUp);
    }
    let call = read(request).await.ok_or(HangUp)?;
    state.enter(call.clone());
    let _leaving = Leaving(&state);
    let mut mood = state.mood();
    loop {
        let now = mood.borrow_and_update().clone();
        match now {
            Mood::Down => return Err(HangUp),
            Mood::Silent => mood.changed().await.map_err(|_| HangUp)?,
            Mood::Slow(wait) => tokio::select! {
                () = tokio::time::sleep(wait) => return Ok(well(&state, &call)),
                changed = mood.changed() => changed.map_err(|_| HangUp)?,
            },
            other => return Ok(in_mood(&other, &state, &call)),
        }
    }
}

struct Leaving<'a>(&'a State);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn in_mood(mood: &Mood, state: &State, call: &Call) -> Response<Body> {
    match mood {
        Mood::Status(status) => json(*status, "{\"error\":\"server_error\"}".to_owned()),
        Mood::Html => full(
            200,
            "text/html",
            "<html><body>Sign in</body></html>".to_owned(),
        ),
        Mood::Huge(bytes) => json(
            200,
            format!("{{\"active\":true,\"pad\":\"{}\"}}", "x".repeat(*bytes)),
        ),
        Mood::Deep(levels) => json(
            200,
            format!("{}{}", "[".repeat(*levels), "]".repeat(*levels)),
        ),
        Mood::Endless => endless(),
        Mood::Redirect(location) => {
            let mut response = json(302, String::new());
            let location = location.parse().unwrap();
            response.headers_mut().insert("location", location);
            response
        }
        _ => well(state, call),
    }
}

fn well(state: &State, call: &Call) -> Response<Body> {
    let (status, value) = answers::answer(state, call);
    let mut response = json(status, value.to_string());
    if let Some(location) = value["location"].as_str().filter(|_| status == 302) {
        let location = location.parse().unwrap();
        response.headers_mut().insert("location", location);
    }
    response
}

fn json(status: u16, text: String) -> Response<Body> {
    full(status, "application/json", text)
}

fn full(status: u16, kind: &str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).boxed_unsync();
    let response = Response::builder().status(status);
    response.header("content-type", kind).body(body).unwrap()
}

fn endless() -> Response<Body> {
    let piece = Frame::data(Bytes::from_static(&[b' '; 16 * 1024]));
    let pieces = stream::repeat_with(move || Ok(Frame::data(piece.data_ref().unwrap().clone())));
    let body = StreamBody::new(pieces).boxed_unsync();
    let response = Response::builder().header("content-type", "application/json");
    response.body(body).unwrap()
}

async fn read(request: Request<Incoming>) -> Option<Call> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    let text = std::str::from_utf8(&body).ok()?;
    let header = |name: &str| {
        let value = head.headers.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    Some(Call {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        authorization: header("authorization"),
        form: Form::parse(text),
        headers: head.headers,
    })
}
