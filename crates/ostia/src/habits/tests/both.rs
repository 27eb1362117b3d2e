//! Bodies and errors, on either side.

use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;

use super::super::{drop_second_length, io_cause, is_broken_framing, is_whole};
use super::{Socket, frame, poll};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;
type Answered = hyper::Result<Response<Incoming>>;

/// What hyper's client makes of a response that arrives in these pieces.
fn ask(socket: &Socket, pieces: &[&str]) -> (Answered, Connection) {
    let Poll::Ready(opened) = poll(&mut Box::pin(handshake(socket.io()))) else {
        panic!("HTTP/1 has no handshake to wait for");
    };
    let (mut sender, connection) = opened.unwrap();
    let mut connection: Connection = Box::pin(connection);
    let request = Request::get("/").header(HOST, "a");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let mut reply = Box::pin(sender.send_request(request));
    for piece in pieces {
        let _ = poll(&mut connection);
        socket.say(piece);
    }
    let _ = poll(&mut connection);
    let Poll::Ready(answered) = poll(&mut reply) else {
        panic!("no answer");
    };
    (answered, connection)
}

fn answered(socket: &Socket, pieces: &[&str]) -> (Response<Incoming>, Connection) {
    let (answered, connection) = ask(socket, pieces);
    (answered.unwrap(), connection)
}

fn error_in_body(rest: &str) -> hyper::Error {
    let socket = Socket::default();
    let (answer, mut connection) = answered(&socket, &[CHUNKED]);
    socket.say(rest);
    socket.end();
    let mut body = answer.into_body();
    for _ in 0..3 {
        let _ = poll(&mut connection);
        if let Poll::Ready(Some(Err(error))) = frame(&mut body) {
            return error;
        }
    }
    panic!("no error");
}

#[test]
fn an_announced_length_tells_the_last_frame() {
    let socket = Socket::default();
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";
    let (answer, mut connection) = answered(&socket, &[head, "ab"]);
    let mut body = answer.into_body();
    assert!(matches!(frame(&mut body), Poll::Ready(Some(Ok(_)))));
    assert!(!is_whole(&body));
    socket.say("cd");
    let _ = poll(&mut connection);
    assert!(matches!(frame(&mut body), Poll::Ready(Some(Ok(_)))));
    assert!(is_whole(&body));

    let none = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (answer, _connection) = answered(&Socket::default(), &[none]);
    assert!(is_whole(answer.body()));

    // A chunked body announces no length.
    let (answer, _connection) = answered(&Socket::default(), &[CHUNKED, "2\r\nab\r\n0\r\n\r\n"]);
    let mut body = answer.into_body();
    assert!(matches!(frame(&mut body), Poll::Ready(Some(Ok(_)))));
    assert!(!is_whole(&body));
}

#[test]
fn the_sockets_error_is_behind_hypers() {
    let socket = Socket::default();
    socket.say_result(Err(io::Error::new(io::ErrorKind::InvalidData, "mine")));
    let (answered, _connection) = ask(&socket, &[]);
    let error = answered.unwrap_err();
    let cause = io_cause(&error).unwrap();
    assert_eq!(
        (cause.kind(), cause.to_string().as_str()),
        (io::ErrorKind::InvalidData, "mine")
    );

    let (answered, _connection) = ask(&Socket::default(), &["no HTTP at all\r\n\r\n"]);
    let error = answered.unwrap_err();
    assert!(error.is_parse() && io_cause(&error).is_none());
}

#[test]
fn broken_chunks_are_told_from_an_early_end() {
    for broken in [
        "zz\r\n",
        "-1\r\n",
        "2\r\nabc\r\n",
        "f0000000000000003\r\n",
        "1;a\nb\r\n",
    ] {
        let error = error_in_body(broken);
        assert!(is_broken_framing(&error), "{broken:?}: {error:?}");
    }
    for early in ["", "2", "2\r\n", "2\r\na", "2\r\nab\r\n"] {
        let error = error_in_body(early);
        assert!(!is_broken_framing(&error), "{early:?}: {error:?}");
    }
}

#[test]
fn an_answers_head_keeps_its_second_length() {
    for lengths in [
        "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{lengths}\r\n");
        let pieces = [head.as_str(), "5\r\nhello\r\n0\r\n\r\n"];
        let (mut answer, _connection) = answered(&Socket::default(), &pieces);
        assert!(drop_second_length(answer.headers_mut()));
        assert!(!answer.headers().contains_key(CONTENT_LENGTH));
        assert!(answer.headers().contains_key(TRANSFER_ENCODING));
        let Poll::Ready(Some(Ok(data))) = frame(answer.body_mut()) else {
            panic!("no data");
        };
        assert_eq!(data.into_data().unwrap(), "hello");
    }
    let (mut answer, _connection) = answered(&Socket::default(), &[CHUNKED]);
    assert!(!drop_second_length(answer.headers_mut()));
}
