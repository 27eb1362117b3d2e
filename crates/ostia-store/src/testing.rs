//! A PostgreSQL server for tests, one per test binary: on a socket and a free port, in a temporary folder. It is
//! stopped when the process ends, however it ends.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "test code: a server that does not start must stop the test at once"
)]

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpSocket;

/// Stops the server and removes its folder once standard input closes, that is, when this process ends.
const WATCH: &str = r#"read -r _; kill -QUIT "$(head -1 "$1/data/postmaster.pid")"; rm -rf "$1""#;

/// Debian's path, which may not be in `PATH`.
const BOUNCER: &str = "/usr/sbin/pgbouncer";

/// A loopback port that the system gives to nobody else as long as the value lives, so that a program which is started
/// later, or again, finds it free. That program must set `SO_REUSEADDR`, as most servers do.
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    _bound: TcpSocket,
}

impl ReservedPort {
    pub fn bind() -> Self {
        let bound = TcpSocket::new_v4().unwrap();
        bound.set_reuseaddr(true).unwrap();
        bound.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let number = bound.local_addr().unwrap().port();
        Self {
            number,
            _bound: bound,
        }
    }

    pub const fn number(&self) -> u16 {
        self.number
    }
}

pub struct Server {
    folder: PathBuf,
    bin: PathBuf,
    port: ReservedPort,
    runs_as: Account,
    /// Runs as long as its standard input is open.
    _watch: Child,
}

/// How to start the server, which PostgreSQL refuses as root.
#[derive(Clone, Copy)]
enum Account {
    Own,
    /// In a user namespace without a root user.
    Nameless,
    /// As the user that the package created.
    Named(u32, u32),
}

impl Server {
    /// A new, empty database on this process's server.
    pub async fn database() -> String {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let server = Self::shared();
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut connection = server.connect().await;
        let sql = format!("CREATE DATABASE {name}");
        let create = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        create.execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        server.url(&name)
    }

    /// The server of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server for one test only, to stop, fill up or slow down. It lives as long as the value.
    pub fn start() -> Self {
        let (bin, runs_as) = (programs(), Account::find());
        let mut name = [0; 8];
        getrandom::fill(&mut name).unwrap();
        let folder =
            std::env::temp_dir().join(format!("ostia-pg-{:016x}", u64::from_le_bytes(name)));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .unwrap();
        if let Account::Named(user, group) = runs_as {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        let port = ReservedPort::bind();
        let mut init = runs_as.command(&bin.join("initdb"));
        init.args([
            "--no-sync",
            "--auth=trust",
            "--username=ostia",
            "--encoding=UTF8",
            "--locale=C",
            "-D",
        ]);
        let done = init.arg(folder.join("data")).output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        configure(&folder, port.number());
        let mut watch = Command::new("sh");
        watch
            .args(["-c", WATCH, "watch"])
            .arg(&folder)
            .stdin(Stdio::piped());
        watch.stdout(Stdio::null()).stderr(Stdio::null());
        // In a process group of its own, so that a signal from the terminal to the tests does not stop it before it
        // cleans up.
        let watch = watch.process_group(0).spawn().unwrap();
        let server = Self {
            folder,
            bin,
            port,
            runs_as,
            _watch: watch,
        };
        server.resume();
        server
    }

    /// Starts it again after [`Server::stop`], and waits until it answers.
    pub fn resume(&self) {
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let mut server = self.runs_as.command(&self.bin.join("postgres"));
        server
            .arg("-D")
            .arg(self.folder.join("data"))
            .process_group(0);
        let server = server.stdin(Stdio::null()).stdout(Stdio::null());
        self.wait(&mut server.stderr(log).spawn().unwrap());
    }

    /// Stops it abruptly, like a crash.
    pub fn stop(&self) {
        let mut stop = self.runs_as.command(&self.bin.join("pg_ctl"));
        stop.args(["stop", "--silent", "--mode=immediate", "-D"])
            .arg(self.folder.join("data"));
        assert!(stop.status().unwrap().success());
    }

    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://ostia@127.0.0.1:{}/{database}",
            self.port.number()
        )
    }

    /// The same over the server's socket.
    pub fn socket_url(&self, database: &str) -> String {
        let socket = self.folder.to_str().unwrap().replace('/', "%2F");
        format!(
            "postgres://ostia@{socket}:{}/{database}",
            self.port.number()
        )
    }

    /// From now on accepts only TLS, except on its socket. Returns the certificate to trust, for `127.0.0.1`.
    pub fn demand_tls(&self) -> PathBuf {
        self.stop();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let data = self.folder.join("data");
        let own = |name: &str, text: &str| {
            let path = data.join(name);
            let options = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path);
            options.unwrap().write_all(text.as_bytes()).unwrap();
            if let Account::Named(user, group) = self.runs_as {
                chown(&path, Some(user), Some(group)).unwrap();
            }
            path
        };
        own("server.key", &made.signing_key.serialize_pem());
        own(
            "pg_hba.conf",
            "local all all trust\nhostssl all all 127.0.0.1/32 trust\n",
        );
        let certificate = own("server.crt", &made.cert.pem());
        append(&self.folder, "ssl = on\n");
        self.resume();
        certificate
    }

    pub const fn port(&self) -> u16 {
        self.port.number()
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url("postgres")).await.unwrap()
    }

    /// Until `started` answers. The log says why it ended, if it did.
    fn wait(&self, started: &mut Child) {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let mut ready = self.runs_as.command(&self.bin.join("pg_isready"));
            ready.arg("-q").arg("-h").arg(&self.folder);
            ready.arg("-p").arg(self.port().to_string());
            if ready.status().unwrap().success() {
                return;
            }
            let in_time = std::time::Instant::now() < deadline;
            if !in_time || started.try_wait().unwrap().is_some() {
                let log = std::fs::read_to_string(self.folder.join("log"));
                panic!("PostgreSQL did not start: {log:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn configure(folder: &Path, port: u16) {
    let socket = folder.display();
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{socket}'\nfsync = off\n\
         full_page_writes = off\nmax_connections = 200\nshared_buffers = 16MB\n"
    );
    append(folder, &settings);
}

fn append(folder: &Path, settings: &str) {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(folder.join("data/postgresql.conf"))
        .unwrap();
    file.write_all(settings.as_bytes()).unwrap();
}

/// pgbouncer in transaction mode, with two connections to the server. It ends with the value.
pub struct Bouncer {
    port: ReservedPort,
    process: Child,
    folder: PathBuf,
}

impl Bouncer {
    pub async fn before(server: &Server) -> Self {
        let port = ReservedPort::bind();
        let folder = server.folder.join(format!("bouncer-{}", port.number()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=ostia\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = 2\n",
            server.port(),
            port.number()
        );
        std::fs::write(&file, settings).unwrap();
        let mut bouncer = server.runs_as.command(Path::new(BOUNCER));
        bouncer.arg(&file).stdin(Stdio::null());
        bouncer.stdout(Stdio::null()).stderr(Stdio::null());
        let process = bouncer
            .spawn()
            .expect("pgbouncer: scripts/postgres.sh installs it");
        let bouncer = Self {
            port,
            process,
            folder,
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", bouncer.port.number())).is_err() {
            let now = std::time::Instant::now();
            assert!(now < deadline, "pgbouncer did not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bouncer
    }

    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://ostia@127.0.0.1:{}/{database}",
            self.port.number()
        )
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The folder of the server's programs. Debian keeps them by version, outside `PATH`.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let versions = versions.into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    found.sort();
    found.reverse();
    found.extend(
        std::env::var_os("PATH")
            .iter()
            .flat_map(std::env::split_paths),
    );
    let is_whole = |bin: &PathBuf| bin.join("initdb").exists() && bin.join("pg_isready").exists();
    let bin = found.into_iter().find(is_whole);
    bin.expect("PostgreSQL is not installed: scripts/test.sh installs it")
}

impl Account {
    fn find() -> Self {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            return Self::Own;
        }
        let trial = Command::new("unshare").args(["--user", "true"]).output();
        if trial.is_ok_and(|trial| trial.status.success()) {
            return Self::Nameless;
        }
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
        let line = accounts.lines().find(|line| line.starts_with("postgres:"));
        let fields: Vec<_> = line
            .expect("the account of PostgreSQL")
            .split(':')
            .collect();
        Self::Named(fields[2].parse().unwrap(), fields[3].parse().unwrap())
    }

    fn command(self, program: &Path) -> Command {
        match self {
            Self::Own => Command::new(program),
            Self::Nameless => {
                let mut command = Command::new("unshare");
                command.arg("--user").arg(program);
                command
            }
            Self::Named(user, group) => {
                let mut command = Command::new(program);
                command.uid(user).gid(group).current_dir("/");
                command
            }
        }
    }
}
