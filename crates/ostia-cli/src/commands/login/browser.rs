use std::process::{Command, Stdio};

use crate::output::note;

/// The program that opens an address on the desktop.
const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};

/// Prints an address, and opens it if there is a screen.
pub(super) fn open(address: &str, wanted: bool) {
    note(address);
    if wanted && has_screen() && start(address) {
        note("It opens in your browser; if it does not, copy it there.");
    }
}

/// Over ssh, the person does not sit at this machine's screen. Without a screen, xdg-open would start a text browser in
/// this terminal.
fn has_screen() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let remote = set("SSH_CONNECTION") || set("SSH_TTY");
    !remote && (cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY"))
}

/// Does not wait for the opener, which may run as long as the browser.
fn start(address: &str) -> bool {
    Command::new(OPENER)
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .is_ok()
}
