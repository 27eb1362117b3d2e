//! The targets: the mock itself, a known proxy, or Ostia.

use super::Site;
use super::config;
use super::process::Process;
use crate::Result;
use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// How long a proxy may take to start and answer.
const START: Duration = Duration::from_secs(60);
/// The key with which nginx and HAProxy compare the header.
const KEY: &str = "bench-0123456789abcdef0123456789abcdef";

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Direct,
    Nginx,
    Haproxy,
    /// A bare hyper proxy: the floor
    Hyper,
    VllmRouter,
    SglangRouter,
    #[value(name = "litellm")]
    LiteLlm,
    /// The build of `--before`
    Before,
    Ostia,
}

impl Kind {
    /// Those that can run here: peers only where their program is in `PATH`, and no build from before.
    pub fn installed() -> Vec<Self> {
        let found = |kind: &&Self| **kind != Self::Before && kind.program().is_none_or(in_path);
        Self::value_variants()
            .iter()
            .filter(found)
            .copied()
            .collect()
    }

    /// What a peer's package installs.
    pub const fn program(self) -> Option<&'static str> {
        match self {
            Self::VllmRouter => Some("vllm-router"),
            Self::SglangRouter => Some("sglang-router"),
            Self::LiteLlm => Some("litellm"),
            Self::Direct
            | Self::Nginx
            | Self::Haproxy
            | Self::Hyper
            | Self::Before
            | Self::Ostia => None,
        }
    }
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Hyper => "bare hyper proxy",
            Self::VllmRouter => "vllm-router",
            Self::SglangRouter => "sglang-router",
            Self::LiteLlm => "LiteLLM",
            Self::Before => "Ostia before",
            Self::Ostia => "Ostia",
        })
    }
}

/// The address for requests, and the credential.
pub struct Target {
    pub addr: SocketAddr,
    key: Option<String>,
}

/// A running target, and the process to measure.
pub struct Running {
    pub target: Target,
    pub process: Option<Process>,
    /// The time from its start to its first answer.
    pub started_in: Duration,
}

impl Target {
    pub fn new(addr: SocketAddr, key: Option<String>) -> Self {
        Self { addr, key }
    }

    /// The arguments for `bench load` and `bench hold`.
    pub fn args(&self) -> Vec<String> {
        let mut args = vec![self.addr.to_string()];
        args.extend(
            self.key
                .iter()
                .map(|key| format!("--header=authorization: Bearer {key}")),
        );
        args
    }

    pub async fn get(&self, path: &str) -> Result<()> {
        self.call(Request::get(path), "").await
    }

    /// One small inference call.
    pub async fn ask(&self) -> Result<()> {
        let body = r#"{"model":"bench-model","messages":[{"role":"user","content":"Hello"}]}"#;
        let request =
            Request::post("/v1/chat/completions").header(CONTENT_TYPE, "application/json");
        self.call(request, body).await
    }

    /// Any 200 counts. Dropping the connection drops the rest of the answer.
    async fn call(&self, mut request: Builder, body: &'static str) -> Result<()> {
        let stream = TcpStream::connect(self.addr).await?;
        let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(driver);
        request = request.header(HOST, self.addr.to_string());
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes())))?;
        match sender.send_request(request).await?.status() {
            StatusCode::OK => Ok(()),
            status => Err(format!("status {}", status.as_u16()).into()),
        }
    }
}

/// Starts a target in a folder of its own, and waits until it answers.
pub async fn launch(site: &Site, kind: Kind) -> Result<Running> {
    if kind == Kind::Direct {
        return Ok(Running {
            target: Target::new(site.mock.addr, None),
            process: None,
            started_in: Duration::ZERO,
        });
    }
    let addr = free().await?;
    let folder = site.folder.path().join(kind.to_string());
    fs::create_dir_all(&folder)?;
    let (mut command, key) = match kind {
        Kind::Direct => return Err("has no process".into()),
        Kind::Nginx => (nginx(site, &folder, addr)?, KEY.into()),
        Kind::Haproxy => (haproxy(site, &folder, addr)?, KEY.into()),
        Kind::Hyper => (hyper(site, addr)?, KEY.into()),
        Kind::VllmRouter => (router(site, "vllm-router", &[], addr).await?, KEY.into()),
        Kind::SglangRouter => (
            router(site, "sglang-router", &["launch"], addr).await?,
            KEY.into(),
        ),
        Kind::LiteLlm => (litellm(site, &folder, addr)?, KEY.into()),
        Kind::Before => {
            let program = site.before.as_deref().ok_or("--before names it")?;
            ostia(site, program, &folder, addr).await?
        }
        Kind::Ostia => ostia(site, &site.ostia, &folder, addr).await?,
    };
    let log = folder.join("log");
    command.stdout(Stdio::null()).stderr(File::create(&log)?);
    let start = Instant::now();
    let mut process = Process::start(command)?;
    let target = Target::new(addr, Some(key));
    loop {
        let answer = target.ask().await;
        if answer.is_ok() {
            return Ok(Running {
                target,
                process: Some(process),
                started_in: start.elapsed(),
            });
        }
        if process.ended() || start.elapsed() > START {
            let said = fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("does not answer ({answer:?}):\n{said}").into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}

fn nginx(site: &Site, folder: &Path, addr: SocketAddr) -> Result<Command> {
    let file = folder.join("nginx.conf");
    fs::write(&file, config::nginx(folder, addr, site.mock.addr, KEY))?;
    let mut command = site.cores.proxy("nginx");
    command.args(["-e", "stderr", "-c"]).arg(file);
    Ok(command)
}

fn haproxy(site: &Site, folder: &Path, addr: SocketAddr) -> Result<Command> {
    let file = folder.join("haproxy.cfg");
    fs::write(&file, config::haproxy(addr, site.mock.addr, KEY))?;
    let mut command = site.cores.proxy("haproxy");
    command.args(["-db", "-q", "-f"]).arg(file);
    Ok(command)
}

fn hyper(site: &Site, addr: SocketAddr) -> Result<Command> {
    let mut command = site.cores.proxy(std::env::current_exe()?);
    command
        .args(["proxy", "--key", KEY])
        .args(["--listen", &addr.to_string()])
        .args(["--upstream", &site.mock.addr.to_string()]);
    Ok(command)
}

/// Both routers come from one code and take the same options.
async fn router(site: &Site, program: &str, verb: &[&str], addr: SocketAddr) -> Result<Command> {
    let mut command = site.cores.proxy(program);
    command
        .args(verb)
        .args(["--policy", "round_robin", "--api-key", KEY])
        .args(["--host", &addr.ip().to_string()])
        .args(["--port", &addr.port().to_string()])
        .args(["--prometheus-port", &free().await?.port().to_string()])
        .args(["--worker-urls", &format!("http://{}", site.mock.addr)]);
    Ok(command)
}

fn litellm(site: &Site, folder: &Path, addr: SocketAddr) -> Result<Command> {
    let file = folder.join("litellm.yaml");
    fs::write(&file, config::litellm(site.mock.addr, KEY))?;
    let mut command = site.cores.proxy("litellm");
    command
        .arg("--config")
        .arg(file)
        .args(["--host", &addr.ip().to_string()])
        .args(["--port", &addr.port().to_string()]);
    Ok(command)
}

/// The database is kept between rounds, as between restarts; each start makes a user and a key of its own.
async fn ostia(
    site: &Site,
    program: &Path,
    folder: &Path,
    addr: SocketAddr,
) -> Result<(Command, String)> {
    let file = folder.join("ostia.toml");
    fs::write(&file, config::ostia(addr, free().await?))?;
    fs::write(folder.join("clusters.json"), config::CLUSTERS)?;
    fs::write(
        folder.join("endpoints.json"),
        config::endpoints(site.mock.addr),
    )?;
    let user = format!("bench{}@example.org", addr.port());
    let mut create = site.cores.load(program);
    create
        .args(["key", "create", "--user", &user, "--json", "--config"])
        .arg(&file);
    let made = create.kill_on_drop(true).output().await?;
    let key = serde_json::from_slice::<serde_json::Value>(&made.stdout)
        .ok()
        .and_then(|made| Some(made["key"].as_str()?.to_owned()));
    let key =
        key.ok_or_else(|| format!("made no key: {}", String::from_utf8_lossy(&made.stderr)))?;
    let program = program.as_os_str();
    let mut words = site.under.iter().map(OsStr::new).chain([program]);
    let mut command = site.cores.proxy(words.next().unwrap_or(program));
    command.args(words).args(["serve", "--config"]).arg(file);
    Ok((command, key))
}
