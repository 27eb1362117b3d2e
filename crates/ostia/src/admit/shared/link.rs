use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, RedisResult, ScriptInvocation, TlsCertificates,
};
use tokio::sync::{Notify, watch};

/// After this many failures in a row the server is not asked until it answers again.
const FAILURES: u32 = 3;
/// How often an unreachable server is tried, and how long connecting may take.
const REST: Duration = Duration::from_millis(500);
const CONNECT: Duration = Duration::from_secs(1);

/// The connection to the server, and whether it is worth asking.
pub(super) struct Link {
    client: Client,
    patience: Duration,
    connection: Mutex<Option<Connection>>,
    failures: AtomicU32,
    is_up: watch::Sender<bool>,
    went_down: Notify,
}

struct Connection {
    /// A failure of an earlier connection does not count against this one.
    number: u64,
    socket: MultiplexedConnection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no connection, or no longer.
    Lost,
    /// It answered with an error, or in a way that cannot be parsed.
    Refused,
    Late,
}

impl Link {
    /// Connects to nothing yet: [`Link::keep`] does.
    pub(super) fn new(url: &str, ca: Option<Vec<u8>>, patience: Duration) -> RedisResult<Self> {
        let client = match ca {
            None => Client::open(url)?,
            Some(ca) => Client::build_with_tls(
                url,
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(ca),
                },
            )?,
        };
        Ok(Self {
            client,
            patience,
            connection: Mutex::new(None),
            failures: AtomicU32::new(0),
            is_up: watch::Sender::new(false),
            went_down: Notify::new(),
        })
    }

    pub(super) fn is_up(&self) -> bool {
        *self.is_up.borrow()
    }

    /// Resolves when the server answers.
    pub(super) async fn up(&self) {
        // The sender lives as long as this.
        let _ = self.is_up.subscribe().wait_for(|is_up| *is_up).await;
    }

    /// Resolves when it answers no longer.
    pub(super) async fn down(&self) {
        let _ = self.is_up.subscribe().wait_for(|is_up| !*is_up).await;
    }

    pub(super) async fn call<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, Fault> {
        let (number, mut socket) = self.current().ok_or(Fault::Lost)?;
        match call.invoke_async(&mut socket).await {
            Ok(answer) => {
                self.failures.store(0, Ordering::Relaxed);
                Ok(answer)
            }
            Err(error) => {
                let is_lost = error.is_io_error() || error.is_unrecoverable_error();
                tracing::debug!(%error, "shared limits: no answer");
                self.failed(number, is_lost);
                Err(if is_lost { Fault::Lost } else { Fault::Refused })
            }
        }
    }

    /// What is published on a channel, until the connection is lost.
    pub(super) async fn subscribe(&self, channel: &str) -> RedisResult<PubSubStream> {
        let connecting = async {
            let mut calls = self.client.get_async_pubsub().await?;
            calls.subscribe(channel).await?;
            Ok(calls.into_on_message())
        };
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err((redis::ErrorKind::Io, "it answers too late").into()),
        }
    }

    /// The wait for an answer was given up.
    pub(super) fn timed_out(&self) {
        if let Some((number, _)) = self.current() {
            self.failed(number, false);
        }
    }

    /// Connects, and again whenever the connection is lost.
    pub(super) async fn keep(&self) -> Infallible {
        let mut number = 0;
        let mut is_told = false;
        loop {
            number += 1;
            let connecting = tokio::time::timeout(CONNECT, self.connect()).await;
            let fault = match connecting {
                Ok(Ok(socket)) => {
                    self.failures.store(0, Ordering::Relaxed);
                    *self.connection.lock() = Some(Connection { number, socket });
                    self.is_up.send_replace(true);
                    tracing::info!("shared limits: the server answers");
                    is_told = false;
                    self.went_down.notified().await;
                    "it stopped answering in time".to_owned()
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(
                    fault,
                    "shared limits: each replica holds its part by itself until the server answers"
                );
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// A connection on which a write is answered in time.
    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        let client = &self.client;
        let mut socket = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let mut probe = redis::cmd("SET");
        probe.arg("ostia:probe").arg(1).arg("PX").arg(1000);
        let probing = probe.exec_async(&mut socket);
        match tokio::time::timeout(self.patience, probing).await {
            Ok(answer) => answer.map(|()| socket),
            Err(_) => Err((redis::ErrorKind::Io, "it answers too late").into()),
        }
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        let connection = self.connection.lock();
        let connection = connection.as_ref()?;
        Some((connection.number, connection.socket.clone()))
    }

    fn failed(&self, number: u64, is_lost: bool) {
        let mut connection = self.connection.lock();
        if connection.as_ref().is_none_or(|now| now.number != number) {
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if is_lost || failures >= FAILURES {
            *connection = None;
            self.is_up.send_replace(false);
            self.went_down.notify_one();
        }
    }
}
