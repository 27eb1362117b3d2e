use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use ostia_core::{ManualClock, Phase};
use tokio::sync::Semaphore;

use super::super::{Clients, FailureKind};
use super::backend::Backend;
use super::{OK, call, client, client_at, fail, outgoing, plain, read, send, soon};

#[tokio::test]
async fn a_hundred_calls_need_one_connection() {
    let cases = [
        OK,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
    ];
    for answer in cases {
        let backend = Backend::answering(answer).await;
        let client = client(&plain(&backend));
        for _ in 0..100 {
            assert_eq!(soon(call(&client)).await.2, 1);
        }
        assert_eq!(backend.accepted(), 1, "{answer}");
        let stats = client.stats();
        assert_eq!(
            (stats.open, stats.idle, stats.in_use, stats.opened_total),
            (1, 1, 0, 1)
        );
    }
}

#[tokio::test]
async fn a_call_is_polled_once_to_send_and_once_to_answer() {
    let backend = Backend::answering(OK).await;
    let client = client(&plain(&backend));
    soon(call(&client)).await;
    let mut polls = 0;
    let mut reused = std::pin::pin!(call(&client));
    let counted = std::future::poll_fn(|cx| {
        polls += 1;
        reused.as_mut().poll(cx)
    });
    assert_eq!(counted.await.0, 200);
    assert_eq!(polls, 2);
}

#[tokio::test]
async fn connections_that_cannot_serve_again_do_not() {
    let cases = [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
    ];
    for answer in cases {
        let backend = Backend::answering(answer).await;
        let client = client(&plain(&backend));
        for _ in 0..3 {
            assert_eq!(soon(call(&client)).await, (200, "ok".into(), 1), "{answer}");
        }
        assert_eq!(backend.accepted(), 3, "{answer}");
    }
}

#[tokio::test]
async fn a_reused_connection_that_dies_on_the_request_is_replaced_once() {
    let backend = Backend::start(|number, mut peer| async move {
        peer.request().await;
        peer.send(OK).await;
        if number == 0 {
            // The next request is read but not answered.
            peer.request().await;
        } else {
            peer.gone().await;
        }
    })
    .await;
    let client = client(&plain(&backend));
    assert_eq!(soon(call(&client)).await.2, 1);
    let mut phases = Vec::new();
    let answer = soon(client.send(outgoing(&["{}"]), &mut |phase| phases.push(phase)))
        .await
        .unwrap();
    assert_eq!((answer.head.status.as_u16(), answer.sends), (200, 2));
    read(answer.body).await.unwrap();
    // The phase does not go back to `connecting`, because the backend may have seen the request.
    assert_eq!(phases, [Phase::WaitingHeaders, Phase::WaitingHeaders]);
    assert_eq!(backend.accepted(), 2);
    assert_eq!(client.stats().idle, 1);
}

#[tokio::test]
async fn it_is_replaced_once_only() {
    let backend = Backend::start(|number, mut peer| async move {
        peer.request().await;
        if number == 0 {
            peer.send(OK).await;
            peer.request().await;
        }
    })
    .await;
    let client = client(&plain(&backend));
    soon(call(&client)).await;
    let (failure, _) = soon(fail(&client, outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Closed);
    assert_eq!(failure.sends, 2);
    assert!(failure.sends > 0 && !failure.retry_safe);
    assert_eq!(backend.accepted(), 2);
}

#[tokio::test]
async fn a_reused_connection_that_has_begun_to_answer_is_not_replaced() {
    let backend = Backend::start(|_, mut peer| async move {
        peer.request().await;
        peer.send(OK).await;
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\ncont").await;
    })
    .await;
    let client = client(&plain(&backend));
    soon(call(&client)).await;
    let (failure, phases) = soon(fail(&client, outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Closed);
    assert!(!failure.retry_safe);
    assert_eq!(phases, [Phase::WaitingHeaders]);
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test]
async fn when_the_backend_is_gone_altogether_another_endpoint_may_be_tried() {
    let backend = Backend::start(|_, mut peer| async move {
        peer.request().await;
        peer.send(OK).await;
        peer.request().await;
    })
    .await;
    let client = client(&plain(&backend));
    soon(call(&client)).await;
    let address = ("127.0.0.1", backend.port);
    drop(backend);
    // The listener closes when its task ends, and the task must be polled for that.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let (failure, phases) = soon(fail(&client, outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.sends > 0 && failure.retry_safe);
    assert_eq!(failure.sends, 1);
    assert_eq!(phases, [Phase::WaitingHeaders]);
}

#[tokio::test]
async fn a_farewell_that_crosses_with_the_request_is_not_its_answer() {
    let backend = Backend::start(|number, mut peer| async move {
        peer.request().await;
        peer.send(OK).await;
        peer.request().await;
        if number == 0 {
            peer.send(
                "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            )
            .await;
        } else {
            peer.send(OK).await;
        }
    })
    .await;
    let client = client(&plain(&backend));
    soon(call(&client)).await;
    assert_eq!(soon(call(&client)).await, (200, "ok".into(), 2));
    assert_eq!(backend.accepted(), 2);
}

#[tokio::test]
async fn idle_connections_that_the_backend_closed_are_swept_and_cost_nothing() {
    for last_words in [
        "",
        "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n",
    ] {
        let backend = Backend::start(move |number, mut peer| async move {
            peer.request().await;
            peer.send(OK).await;
            if number == 0 {
                peer.send(last_words).await;
            } else {
                peer.gone().await;
            }
        })
        .await;
        let client = client(&plain(&backend));
        soon(call(&client)).await;
        soon(async {
            while client.stats().open > 0 {
                client.sweep();
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(soon(call(&client)).await, (200, "ok".into(), 1));
        client.sweep();
        assert_eq!(client.stats().idle, 1);
    }
}

#[tokio::test]
async fn connections_that_idled_too_long_are_not_used() {
    let backend = Backend::answering(OK).await;
    let clock = Arc::new(ManualClock::at(0));
    let client = client_at(&plain(&backend), Arc::clone(&clock));
    soon(call(&client)).await;
    clock.advance(Duration::from_millis(3_999));
    client.sweep();
    soon(call(&client)).await;
    assert_eq!(backend.accepted(), 1);

    clock.advance(Duration::from_secs(4));
    soon(call(&client)).await;
    assert_eq!(backend.accepted(), 2);
    assert_eq!(client.stats().open, 1);

    clock.advance(Duration::from_secs(4));
    client.sweep();
    assert_eq!(client.stats().open, 0);
}

/// A backend that is called once an hour holds no socket for that hour, whichever room made the client.
#[tokio::test]
async fn every_client_is_swept() {
    let backend = Backend::answering(OK).await;
    let clock = Arc::new(ManualClock::at(0));
    let clients = Clients::new(Arc::clone(&clock) as _);
    let client = clients.client(&plain(&backend)).unwrap();
    soon(call(&client)).await;
    drop(clients.client(&plain(&backend)).unwrap());
    clients.sweep();
    assert_eq!(client.stats().open, 1);
    clock.advance(Duration::from_secs(4));
    clients.sweep();
    assert_eq!(client.stats().open, 0);
}

#[tokio::test]
async fn the_last_used_connection_serves_next() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let backend = Backend::start(move |number, mut peer| {
        let gate = Arc::clone(&gate);
        async move {
            while peer.request().await.is_some() {
                gate.acquire().await.unwrap().forget();
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}"
                ))
                .await;
            }
        }
    })
    .await;
    let client = client(&plain(&backend));
    let three =
        async { futures_util::future::join3(send(&client), send(&client), send(&client)).await };
    let release = async {
        while backend.accepted() < 3 {
            tokio::task::yield_now().await;
        }
        opened.add_permits(3);
    };
    let ((first, second, third), ()) = soon(futures_util::future::join(three, release)).await;
    assert_eq!(client.stats().in_use, 3);
    let mut last = Default::default();
    for answer in [first, second, third] {
        last = read(answer.unwrap().body).await.unwrap();
    }
    assert_eq!((client.stats().idle, client.stats().in_use), (3, 0));
    for _ in 0..5 {
        opened.add_permits(1);
        assert_eq!(soon(call(&client)).await.1, last);
    }
    assert_eq!(backend.accepted(), 3);
}

#[tokio::test]
async fn a_half_read_answer_ends_its_connection() {
    let backend = Backend::start(|_, mut peer| async move {
        while peer.request().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
                .await;
        }
    })
    .await;
    let client = client(&plain(&backend));
    for opened in 1..=3 {
        let mut body = soon(send(&client)).await.unwrap().body;
        let frame = soon(body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "ok");
        assert_eq!(client.stats().in_use, 1);
        drop(body);
        let stats = client.stats();
        assert_eq!((stats.open, stats.idle, stats.in_use), (0, 0, 0));
        assert_eq!(backend.accepted(), opened);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_connections_closed_at_random_cost_no_request() {
    // The backend closes each connection after a few answers, right after the last one.
    let backend = Backend::start(|number, mut peer| async move {
        for _ in 0..=number % 4 {
            if peer.request().await.is_none() {
                return;
            }
            peer.send(OK).await;
        }
    })
    .await;
    let client = Arc::new(client(&plain(&backend)));
    let workers = (0..8).map(|_| {
        let client = Arc::clone(&client);
        crate::runtime::spawn(async move {
            for _ in 0..200 {
                assert_eq!(call(&client).await.0, 200);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        soon(worker).await.unwrap();
    }
    assert_eq!(client.stats().in_use, 0);
}
