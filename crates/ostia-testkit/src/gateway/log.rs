use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use crate::canary::{SinkWriter, Sinks};

/// What was logged in this process since a moment. Tests run side by side and share the log; their secrets are their own.
#[derive(Debug, Clone)]
pub struct Log {
    writer: SinkWriter,
    from: usize,
}

impl Log {
    /// Begins to listen, at the level of detail that shows most.
    pub fn capture() -> Self {
        static WRITER: OnceLock<SinkWriter> = OnceLock::new();
        let writer = WRITER.get_or_init(subscribe).clone();
        let from = writer.length();
        Self { writer, from }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.writer.since(self.from)
    }
}

fn subscribe() -> SinkWriter {
    let writer = Sinks::new().writer("the log");
    let for_events = writer.clone();
    // A subscriber that is there already stays; the log is then empty.
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::new("debug,ostia=trace,h2=info"))
        .with_writer(move || for_events.clone())
        .try_init()
        .ok();
    writer
}
