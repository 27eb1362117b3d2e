//! `ostia serve --demo` as a process: what it prints, where it listens, what it leaves.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ostia_testkit::patience::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::Signal;

use super::serve::answer;
use super::site::{Gateway, Site, Terminal, ostia};

fn demo(site: &Site) -> Gateway {
    let folder = site.path("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    site.serve_with(&[("TMPDIR", folder.to_str().unwrap())], &["--demo"])
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn whoever_comes_second_gets_another_port() {
    let site = Site::empty();
    // All at once, so that they compete for the usual port.
    let demos: Vec<Gateway> = (0..3).map(|_| demo(&site)).collect();
    let mut addresses: Vec<String> = demos
        .iter()
        .map(|demo| demo.event("ostia listens")["listen"].to_string())
        .collect();
    for address in &addresses {
        let health = answer(address.trim_matches('"'), "/health", "");
        assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    }
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 3);
    for demo in demos {
        demo.signal(Signal::INT);
        assert_eq!(demo.code(), Some(0));
    }
    assert!(is_empty(&site.path("tmp")));
}

#[test]
fn it_leaves_nothing_behind_even_when_it_is_killed() {
    let site = Site::empty();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::KILL] {
        let demo = demo(&site);
        demo.event("ostia listens");
        assert!(!is_empty(&site.path("tmp")));
        demo.signal(signal);
        let expected = (signal != Signal::KILL).then_some(0);
        assert_eq!(demo.code(), expected);
        // After a kill the shell has to notice first.
        wait_until_empty(&site.path("tmp"));
    }
}

fn wait_until_empty(folder: &Path) {
    let removals = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&removals, folder, inotify::WatchFlags::DELETE).unwrap();
    let patience = Timespec::try_from(PATIENCE).unwrap();
    while !is_empty(folder) {
        let mut removal = [PollFd::new(&removals, PollFlags::IN)];
        assert_ne!(poll(&mut removal, Some(&patience)), Ok(0), "{folder:?}");
        rustix::io::read(&removals, &mut [0_u8; 4096]).unwrap();
    }
}

/// Even if it is not its controlling terminal, so that there is no SIGHUP.
#[test]
fn it_ends_when_its_terminal_closes() {
    let site = Site::empty();
    let terminal = Terminal::open(80);
    let demo = site.serve_on(terminal.end(), &[], &["--demo"]);
    demo.event("ostia listens");
    drop(terminal);
    assert_eq!(demo.event("stopping")["signal"], "its terminal closed");
    assert_eq!(demo.code(), Some(0));
}

/// `nohup` means that it should go on.
#[test]
fn it_outlives_a_hang_up_that_it_was_told_to_ignore() {
    let site = Site::empty();
    let binary = env!("CARGO_BIN_EXE_ostia");
    let mut child = Command::new("/bin/sh")
        .args(["-c", "trap '' HUP; exec \"$0\" serve --demo", binary])
        .current_dir(site.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = rustix::process::Pid::from_child(&child);
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = |text: &str| log.any(|line| line.unwrap().contains(text));
    assert!(seen("ostia listens"));
    rustix::process::kill_process(id, Signal::HUP).unwrap();
    assert!(seen("SIGHUP: this site was not read from files"));
    rustix::process::kill_process(id, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_cuts_nothing_where_nothing_runs() {
    let site = Site::empty();
    for _ in 0..5 {
        let demo = demo(&site);
        demo.event("ostia listens");
        demo.signal(Signal::TERM);
        demo.signal(Signal::INT);
        assert_eq!(demo.code(), Some(0));
    }
}

#[test]
fn a_socket_that_nothing_can_be_pasted_for_is_refused() {
    let ended = ostia(&["serve", "--demo", "--listen", "unix:socket"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("--listen"), "{}", ended.stderr);
}
