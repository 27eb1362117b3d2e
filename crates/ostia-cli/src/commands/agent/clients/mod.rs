//! One file per agent: which files the agent reads, and what they must contain.
//!
//! To add one: 1. a file with a unit struct that implements [`Configuration`]; 2. a variant of `Client` and its arm in
//! `agent/mod.rs`; 3. a line in docs/agents.md, and a case in scripts/clients/agent.sh if it can be installed.

mod aider;
mod claude;
mod codex;
mod continue_dev;
mod goose;
mod json;
mod opencode;
mod pi;
mod qwen;
#[cfg(test)]
mod tests;

pub(super) use aider::Aider;
pub(super) use claude::Claude;
pub(super) use codex::Codex;
pub(super) use continue_dev::Continue;
pub(super) use goose::Goose;
pub(super) use opencode::Opencode;
pub(super) use pi::Pi;
pub(super) use qwen::Qwen;

use super::files::{AgentFile, Home};

/// How to configure an agent.
pub(super) trait Configuration: Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// The API that it calls.
    fn api(&self) -> &'static str {
        "chat/completions"
    }

    fn files(&self, home: &Home) -> Vec<AgentFile>;

    /// What the user still has to do.
    fn hint(&self) -> &'static str {
        "Start it as usual."
    }
}
