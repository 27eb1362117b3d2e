//! Hands the readers of foreign bytes (`ostia::fuzz`) to libFuzzer.

/// Runs one of them by its name.
///
/// # Panics
///
/// If there is none of that name, or the reader panics, which is a finding.
pub fn run(name: &str, data: &[u8]) {
    let known = ostia::fuzz::TARGETS.iter().find(|(known, _)| *known == name);
    let Some((_, target)) = known else {
        panic!("no target is called {name}");
    };
    target(data);
}
