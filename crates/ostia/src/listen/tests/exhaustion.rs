//! Running out of file descriptors (R85). In a process of its own, because the limit applies to the whole process.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Gateway, echo, options, status};

const NAME: &str = "listen::tests::exhaustion::accepting_pauses_and_recovers";
const CHILD: &str = "OSTIA_TEST_FEW_DESCRIPTORS";
const LIMIT: u64 = 64;

#[test]
fn accepting_pauses_and_recovers() {
    if std::env::var_os(CHILD).is_some() {
        return run_with_few_descriptors();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn run_with_few_descriptors() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let gateway = Gateway::start(options(), echo).await;
        let mut first = gateway.connect().await;
        first.get("/").await;
        first.read_until("/ 0").await;

        // Both ends of a connection are in this process: the clients connect first, then the limit is lowered.
        let mut clients = Vec::new();
        for _ in 0..100 {
            clients.push(std::net::TcpStream::connect(gateway.address).unwrap());
        }
        let open = clients.len() as u64 + LIMIT;
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(open),
                ..getrlimit(Resource::Nofile)
            },
        )
        .unwrap();

        // Open connections stay, and the rest of the process still gets descriptors.
        for _ in 0..20 {
            first.get("/").await;
            first.read_until("/ 0").await;
        }
        assert!(gateway.connections.open() < clients.len());
        assert!(std::fs::File::open("/dev/null").is_ok());

        drop(clients);
        let bytes = gateway
            .talk("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await;
        assert_eq!(status(&bytes), 200);
    });
}
