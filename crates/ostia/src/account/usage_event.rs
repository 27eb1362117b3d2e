use ostia_core::{Held as _, LedgerRow};

/// Logs the ledger's columns as one event, for log pipelines that do not read the database. A column without a value
/// (`ttft_ms`) is left out.
pub(super) fn emit(row: &LedgerRow<'_>) {
    macro_rules! tell {
        (
            ledger { $($number:literal $name:ident: $held:ty $([$($bound:tt)+])?, $meaning:literal;)+ }
            beside { $($beside:tt)+ }
        ) => {
            tracing::info!(target: "ostia::usage", $($name = row.$name.plain(),)+ "usage")
        };
    }
    ostia_core::ledger_columns!(tell);
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use ostia_core::{Column, Value};
    use serde_json::json;

    use super::super::tests::row;
    use super::emit;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn as_json(value: Value<'_>) -> serde_json::Value {
        match value {
            Value::Id(id) => json!(id.to_string()),
            Value::Text(text) | Value::Word { text, .. } => json!(text),
            Value::Stamp(micros) => json!(micros),
            Value::Flag(flag) => json!(flag),
            Value::Number(number) => json!(number),
            Value::Absent => json!(null),
        }
    }

    #[test]
    fn the_event_has_the_ledger_s_columns_in_their_order() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .finish();
        let mut row = row("ann", 7);
        row.ttft_ms = Some(12);
        tracing::subscriber::with_default(subscriber, || emit(&row));

        let bytes = sink.0.lock().unwrap().clone();
        let event: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let event = event.as_object().unwrap();
        assert_eq!(event["target"], "ostia::usage");
        assert_eq!(event["message"], "usage");
        assert_eq!(event["total_tokens"], 7);
        let names: Vec<_> = event.keys().map(String::as_str).collect();
        let first = names.iter().position(|name| *name == "request_id").unwrap();
        for ((column, value), name) in Column::LEDGER.iter().zip(row.values()).zip(&names[first..])
        {
            assert_eq!(column.name, *name);
            assert_eq!(event[*name], as_json(value), "{name}");
        }
        assert!(!event.contains_key("name"), "it is no column");
    }
}
