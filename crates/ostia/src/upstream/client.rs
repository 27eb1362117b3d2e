use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use ostia_core::{Clock, Phase};
use parking_lot::Mutex;

use super::call::Call;
use super::connect::{ConnectError, Connector};
use super::http2::SharedConnection;
use super::link::Link;
use super::message::{Message, OriginParts, Unwritable};
use super::pool::{Channel, Gauges, Pool, Stats};
use super::proxy::ProxyError;
use super::resolver::Resolver;
use super::socket::{Socket, Stream};
use super::tls::TlsError;
use super::trouble::chain;
use super::{FailureKind, UpstreamBody, UpstreamFailure, UpstreamResponse};
use crate::catalog::{Origin, Target, Timeouts};
use crate::listen::Tunnelled;
use crate::upstream::Outgoing;

/// Calls one deployment's backend over connections that it keeps open.
///
/// Built once per deployment and load of the configuration; building it reads the TLS files.
pub struct Client {
    connector: Connector,
    pool: Arc<Pool>,
    /// Pools for hosts that an adapter chose instead of the deployment's own.
    others: Mutex<HashMap<Origin, Arc<Pool>>>,
    pool_idle_timeout: Option<Duration>,
    pub(super) timeouts: Timeouts,
    clock: Arc<dyn Clock>,
    gauges: Arc<Gauges>,
}

/// Why a deployment cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("the backend's host is not valid in a URL")]
    Host,
    #[error("the other side of the tunnel speaks no HTTP/2")]
    Tunnel,
}

/// How long the other side of a tunnel may take to start speaking HTTP/2.
const TURNING: Duration = Duration::from_secs(10);

/// Called when a call enters `Connecting` and `WaitingHeaders` (the latter once the first bytes have been sent).
pub(crate) type Progress<'a> = &'a mut (dyn FnMut(Phase) + Send);

impl Client {
    pub(super) fn new(
        target: &Target,
        resolver: Arc<Resolver>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ClientError> {
        let connector = Connector::new(target, resolver)?;
        let gauges = Arc::<Gauges>::default();
        let pool = Self::new_pool(
            &connector,
            &target.origin,
            target.pool_idle_timeout,
            &clock,
            &gauges,
            false,
        )
        .map_err(|Unwritable| ClientError::Host)?;
        Ok(Self::of(target, connector, pool, clock, gauges))
    }

    /// A client for an engine whose side opened the connection. It works for as long as the connection lasts.
    pub(super) async fn turned(
        target: &Target,
        resolver: Arc<Resolver>,
        clock: Arc<dyn Clock>,
        tunnelled: Tunnelled,
    ) -> Result<Self, ClientError> {
        let connector = Connector::new(target, resolver)?;
        let gauges = Arc::<Gauges>::default();
        let pool = Self::new_pool(&connector, &target.origin, None, &clock, &gauges, true)
            .map_err(|Unwritable| ClientError::Host)?;
        let socket = Socket::new(Stream::Turned(Box::new(tunnelled)));
        let host = Arc::clone(&target.origin.host);
        let opened = SharedConnection::tunnel(socket, gauges.opened(), host, &clock);
        let shared = within(Some(TURNING), opened).await;
        let shared = shared.and_then(Result::ok).ok_or(ClientError::Tunnel)?;
        pool.share(shared);
        Ok(Self::of(target, connector, pool, clock, gauges))
    }

    /// Whether its tunnel can take requests; `false` for a client that opens connections itself.
    pub fn has_tunnel(&self) -> bool {
        self.pool.is_tunnel && self.pool.has_tunnel()
    }

    /// Closes its tunnel at once, with everything that runs on it.
    pub(super) fn cut(&self) {
        self.pool.cut();
    }

    fn of(
        target: &Target,
        connector: Connector,
        pool: Arc<Pool>,
        clock: Arc<dyn Clock>,
        gauges: Arc<Gauges>,
    ) -> Self {
        Self {
            connector,
            pool,
            others: Mutex::default(),
            pool_idle_timeout: target.pool_idle_timeout,
            timeouts: target.timeouts,
            clock,
            gauges,
        }
    }

    /// Sends a request and waits for the response head. Dropping the future closes the connection it waits on.
    ///
    /// A reused connection that turns out to be dead is replaced by a new one, once. Nothing else is ever sent twice.
    pub(crate) async fn send(
        &self,
        outgoing: Outgoing,
        progress: Progress<'_>,
    ) -> Result<UpstreamResponse<UpstreamBody>, UpstreamFailure> {
        let pool = self.pool_of(outgoing.origin.as_ref())?;
        let message = Message::new(
            outgoing.method,
            outgoing.path_and_query,
            outgoing.headers,
            outgoing.body,
        )?;
        self.dispatch(pool, message, outgoing.timeouts, progress)
            .await
    }

    /// Closes connections that were idle too long or that the peer has closed. Cheap enough to call every second.
    pub fn sweep(&self) {
        self.pool.sweep();
        let others: Vec<_> = self.others.lock().values().map(Arc::clone).collect();
        for pool in &others {
            pool.sweep();
        }
        drop(others);
        self.others
            .lock()
            .retain(|_, pool| pool.idle() > 0 || Arc::strong_count(pool) > 1);
    }

    pub fn stats(&self) -> Stats {
        let others: usize = self.others.lock().values().map(|pool| pool.idle()).sum();
        self.gauges.stats(self.pool.idle() + others)
    }

    pub(super) async fn dispatch(
        &self,
        pool: Arc<Pool>,
        message: Message,
        timeouts: Timeouts,
        progress: Progress<'_>,
    ) -> Result<UpstreamResponse<UpstreamBody>, UpstreamFailure> {
        let mut call = Call {
            pool,
            timeouts,
            progress,
            sends: 0,
        };
        while call.sends == 0
            && let Some(channel) = call.pool.take()
        {
            match call.attempt(channel, message.clone(), true).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) if trouble.refused => return Err(call.failure(trouble)),
                Err(trouble) if trouble.silent || !trouble.written => {}
                Err(trouble) => return Err(call.failure(trouble)),
            }
        }
        // Boxed because it is rare: inlined, it would make every request's future larger.
        Box::pin(self.send_on_new(call, message)).await
    }

    async fn send_on_new(
        &self,
        mut call: Call<'_>,
        message: Message,
    ) -> Result<UpstreamResponse<UpstreamBody>, UpstreamFailure> {
        let channel = self.open(&mut call).await?;
        match call.attempt(channel, message, false).await {
            Ok(answer) => Ok(answer),
            Err(trouble) => Err(call.failure(trouble)),
        }
    }

    async fn open(&self, call: &mut Call<'_>) -> Result<Channel, UpstreamFailure> {
        if call.sends == 0 {
            (call.progress)(Phase::Connecting);
        }
        let opened = within(call.timeouts.connect, self.open_channel(&call.pool)).await;
        let error = match opened {
            Some(Ok(channel)) => return Ok(channel),
            Some(Err(error)) => error,
            None => ConnectError {
                kind: FailureKind::Timeout,
                detail: "no connection in time".to_owned(),
            },
        };
        Err(UpstreamFailure {
            kind: error.kind,
            phase: Phase::Connecting,
            // The earlier send went into a connection that was already dead, so the backend did no work. Another endpoint
            // would need a descriptor too.
            retry_safe: error.kind != FailureKind::Exhausted,
            sends: call.sends,
            detail: error.detail,
        })
    }

    async fn open_channel(&self, pool: &Arc<Pool>) -> Result<Channel, ConnectError> {
        if !pool.shares.load(Ordering::Relaxed) {
            return self.connect(pool).await;
        }
        // While a shared connection is being opened, other requests wait for it instead of opening their own.
        let _opening = pool.opening.lock().await;
        match pool.enter() {
            Some(lane) => Ok(Channel::Shared(lane)),
            None => self.connect(pool).await,
        }
    }

    async fn connect(&self, pool: &Arc<Pool>) -> Result<Channel, ConnectError> {
        let failed = |error: hyper::Error| ConnectError {
            kind: FailureKind::Closed,
            detail: chain(&error),
        };
        if pool.is_tunnel {
            return Err(ConnectError {
                kind: FailureKind::Unreachable,
                detail: "the tunnel is closed, or carries as much as it may".to_owned(),
            });
        }
        let connected = self.connector.connect(&pool.origin).await?;
        let open = self.gauges.opened();
        if !connected.http2 {
            pool.shares.store(false, Ordering::Relaxed);
            let link = Link::open(connected.socket, open).await.map_err(failed)?;
            return Ok(Channel::Own(link));
        }
        let host = Arc::clone(&pool.origin.host);
        let mut shared = SharedConnection::open(connected.socket, open, host, &self.clock)
            .await
            .map_err(failed)?;
        let lane = shared.enter(self.clock.now()).ok_or_else(|| ConnectError {
            kind: FailureKind::Closed,
            detail: "the connection was closed at once".to_owned(),
        })?;
        pool.share(shared);
        Ok(Channel::Shared(lane))
    }

    pub(super) fn pool_of(&self, origin: Option<&Origin>) -> Result<Arc<Pool>, UpstreamFailure> {
        let origin = match origin {
            Some(other) if *other != self.pool.origin => other,
            _ => return Ok(Arc::clone(&self.pool)),
        };
        let mut others = self.others.lock();
        if let Some(pool) = others.get(origin) {
            return Ok(Arc::clone(pool));
        }
        let pool = Self::new_pool(
            &self.connector,
            origin,
            self.pool_idle_timeout,
            &self.clock,
            &self.gauges,
            false,
        )?;
        others.insert(origin.clone(), Arc::clone(&pool));
        Ok(pool)
    }

    fn new_pool(
        connector: &Connector,
        origin: &Origin,
        idle_timeout: Option<Duration>,
        clock: &Arc<dyn Clock>,
        gauges: &Arc<Gauges>,
        is_tunnel: bool,
    ) -> Result<Arc<Pool>, Unwritable> {
        let parts = OriginParts::new(origin, connector.forwarded(origin))?;
        Ok(Pool::new(
            origin.clone(),
            parts,
            idle_timeout,
            Arc::clone(clock),
            Arc::clone(gauges),
            is_tunnel || connector.http2_without_tls(origin),
            is_tunnel,
        ))
    }
}

/// Runs `future` for at most `limit`.
///
/// Not an `async fn`: its state would hold the future twice.
pub(crate) fn within<F: Future>(
    limit: Option<Duration>,
    future: F,
) -> impl Future<Output = Option<F::Output>> {
    tokio::time::timeout(limit.unwrap_or(Duration::MAX), future).map(Result::ok)
}
