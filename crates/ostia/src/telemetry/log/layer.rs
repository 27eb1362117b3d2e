use std::cell::RefCell;
use std::sync::Arc;

use ostia_core::Clock;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::Queue;
use super::{LogFormat, json, text};

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A line that grew beyond this gives its memory back.
const KEPT: usize = 16 << 10;

/// Makes a line of each event and hands it to the queue.
pub(super) struct LineLayer {
    format: LogFormat,
    queue: Arc<Queue>,
    clock: Box<dyn Clock>,
}

impl LineLayer {
    pub fn new(format: LogFormat, queue: Arc<Queue>, clock: Box<dyn Clock>) -> Self {
        Self {
            format,
            queue,
            clock,
        }
    }

    fn log(&self, line: &mut String, event: &Event<'_>) {
        line.clear();
        let now = self.clock.unix_micros();
        match self.format {
            LogFormat::Json => json::push_event(line, now, event),
            LogFormat::Text { colors } => text::push_event(line, now, event, colors),
        }
        line.push('\n');
        self.queue.push(line);
        line.shrink_to(KEPT);
    }
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let logged = LINE.try_with(|line| match line.try_borrow_mut() {
            Ok(mut line) => self.log(&mut line, event),
            // A value that logs while it is formatted.
            Err(_) => self.log(&mut String::new(), event),
        });
        // The thread is ending, and its buffer is gone.
        if logged.is_err() {
            self.log(&mut String::new(), event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ostia_core::ManualClock;
    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::queue::Queue;
    use super::{LINE, LineLayer, LogFormat};

    const EVIL: &str = "gpt\r\n{\"level\":\"ERROR\"}\u{1b}[2J %n \u{202e}";

    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen")]
    struct Outer(#[source] std::io::Error);

    /// The lines that `log` leaves on a clock that stands at 2026-11-23T00:00:00.000042Z.
    fn lines(format: LogFormat, log: impl FnOnce()) -> Vec<String> {
        let queue = Arc::new(Queue::default());
        let clock = Box::new(ManualClock::at(1_795_392_000_000_042));
        let layer = LineLayer::new(format, Arc::clone(&queue), clock);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let mut written = Vec::new();
        queue.end();
        queue.write_to(&mut written);
        let text = String::from_utf8(written).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn log_samples() {
        let error = Outer(std::io::Error::other("address in use"));
        let cause: &(dyn std::error::Error + 'static) = &error;
        tracing::warn!(
            model = EVIL,
            shown = %EVIL,
            status = 200_u16,
            stream = true,
            half = 0.5,
            nothing = f64::NAN,
            level = "mine",
            r#type = "t",
            empty = "",
            absent = None::<u64>,
            error = cause,
            "message {EVIL}"
        );
    }

    #[test]
    fn a_json_line_is_one_object_whatever_is_in_it() {
        let lines = lines(LogFormat::Json, log_samples);
        assert_eq!(lines.len(), 1);
        let value: Value = serde_json::from_str(&lines[0]).unwrap();
        let expected = json!({
            "timestamp": "2026-11-23T00:00:00.000042Z",
            "level": "WARN",
            "target": "ostia::telemetry::log::layer::tests",
            "message": format!("message {EVIL}"),
            "model": EVIL,
            "shown": EVIL,
            "status": 200,
            "stream": true,
            "half": 0.5,
            "nothing": "NaN",
            "field_level": "mine",
            "type": "t",
            "empty": "",
            "error": "cannot listen: address in use",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_text_line_is_one_line_whatever_is_in_it() {
        let lines = lines(LogFormat::Text { colors: false }, log_samples);
        let message = r#"gpt\r\n{"level":"ERROR"}\u{1b}[2J %n \u{202e}"#;
        let value = r#""gpt\r\n{\"level\":\"ERROR\"}\u{1b}[2J %n \u{202e}""#;
        let expected = format!(
            "2026-11-23T00:00:00.000042Z  WARN ostia::telemetry::log::layer::tests: message {message} model={value} \
             shown={value} status=200 stream=true half=0.5 nothing=NaN level=mine type=t empty=\"\" \
             error=\"cannot listen: address in use\""
        );
        assert_eq!(lines, [expected]);
    }

    /// A value that logs while it is formatted does so while the buffer is in use.
    #[test]
    fn an_event_within_an_event_has_a_line_of_its_own() {
        let lines = lines(LogFormat::Json, || {
            LINE.with_borrow_mut(|outer| {
                outer.push_str("{\"message\":");
                tracing::info!("inner");
                assert_eq!(outer, "{\"message\":");
            });
        });
        assert_eq!(lines.len(), 1);
        let value: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(value["message"], "inner");
    }
}
