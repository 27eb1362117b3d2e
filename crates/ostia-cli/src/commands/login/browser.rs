use std::process::{Command, Stdio};

use crate::output::note;

/// What opens an address where people sit.
const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};

/// Shows an address, and opens it where there is a screen.
pub(super) fn open(address: &str, wanted: bool) {
    note(address);
    if wanted && has_screen() && start(address) {
        note("It opens in your browser; if it does not, copy it there.");
    }
}

/// Over ssh the screen, if there is one, is not where the person sits. Without one, xdg-open would start a browser of
/// text in this terminal.
fn has_screen() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let remote = set("SSH_CONNECTION") || set("SSH_TTY");
    !remote && (cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY"))
}

/// The opener ends when it likes: some wait for the browser.
fn start(address: &str) -> bool {
    Command::new(OPENER)
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .is_ok()
}
