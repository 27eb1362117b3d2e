//! A Redis or Valkey server of a test's own, on a free loopback port. It ends with the value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ostia_store::testing::ReservedPort;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, TlsCertificates};
use tempfile::TempDir;

use crate::patience::within;
use crate::ports::loopback;

/// Names under which the server is installed; `scripts/test.sh` installs it where both are missing.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

pub struct RedisServer {
    folder: TempDir,
    port: ReservedPort,
    security: Security,
    child: Mutex<Child>,
}

/// What it asks of those who connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    Open,
    Password,
    PasswordAndTls,
}

const PASSWORD: &str = "ask-me-nothing";

impl RedisServer {
    pub async fn start() -> Self {
        Self::start_with(Security::Open).await
    }

    pub async fn with_password() -> Self {
        Self::start_with(Security::Password).await
    }

    /// Its certificate is signed by [`RedisServer::ca_path`].
    pub async fn with_tls() -> Self {
        Self::start_with(Security::PasswordAndTls).await
    }

    async fn start_with(security: Security) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if security == Security::PasswordAndTls {
            write_certificates(folder.path());
        }
        let port = ReservedPort::bind();
        let child = Mutex::new(spawn(folder.path(), port.number(), security));
        let server = Self {
            folder,
            port,
            security,
            child,
        };
        server.answers().await;
        server
    }

    pub const fn address(&self) -> SocketAddr {
        loopback(self.port.number())
    }

    /// What `limits.shared` takes.
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// The same by way of a proxy.
    pub fn url_at(&self, address: SocketAddr) -> String {
        let port = address.port();
        match self.security {
            Security::Open => format!("redis://127.0.0.1:{port}/3"),
            Security::Password => format!("redis://:{PASSWORD}@127.0.0.1:{port}"),
            Security::PasswordAndTls => format!("rediss://default:{PASSWORD}@127.0.0.1:{port}"),
        }
    }

    pub fn ca_path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Ends it without a word.
    pub fn kill(&self) {
        let mut child = self.child.lock();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again on the same port, empty.
    pub async fn restart(&self) {
        *self.child.lock() = spawn(self.folder.path(), self.port.number(), self.security);
        self.answers().await;
    }

    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.connect().await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap()
    }

    /// Every key, with the milliseconds until it ends; -1: never.
    pub async fn keys(&self) -> Vec<(String, i64)> {
        let mut connection = self.connect().await.unwrap();
        let names: Vec<String> = redis::cmd("KEYS")
            .arg("*")
            .query_async(&mut connection)
            .await
            .unwrap();
        let mut keys = Vec::new();
        for name in names {
            let ends = redis::cmd("PTTL")
                .arg(&name)
                .query_async(&mut connection)
                .await
                .unwrap();
            keys.push((name, ends));
        }
        keys
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = match self.security {
            Security::PasswordAndTls => {
                let root_cert = Some(std::fs::read(self.ca_path()).unwrap());
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert,
                };
                Client::build_with_tls(self.url(), certificates)?
            }
            _ => Client::open(self.url())?,
        };
        client.get_multiplexed_async_connection().await
    }

    async fn answers(&self) {
        let asking = async {
            while self.connect().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(|| "the Redis server to answer".to_owned(), asking).await;
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn spawn(folder: &Path, port: u16, security: Security) -> Child {
    let port = port.to_string();
    let mut words = vec!["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    if security == Security::PasswordAndTls {
        words.extend(["--port", "0", "--tls-port", &port]);
        words.extend([
            "--tls-cert-file",
            "server.pem",
            "--tls-key-file",
            "server.key",
        ]);
        words.extend(["--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no"]);
    } else {
        words.extend(["--port", &port]);
    }
    if security != Security::Open {
        words.extend(["--requirepass", PASSWORD]);
    }
    let started = PROGRAMS.iter().find_map(|program| {
        let mut command = Command::new(program);
        command.args(&words).current_dir(folder);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()
    });
    started.expect("redis-server or valkey-server (scripts/test.sh installs one)")
}

/// An authority, and a certificate that it signed for 127.0.0.1.
fn write_certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.pem", ca.self_signed(&ca_key).unwrap().pem());
    let key = KeyPair::generate().unwrap();
    let of = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let signed = of.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    write("server.pem", signed.pem());
    write("server.key", key.serialize_pem());
}
