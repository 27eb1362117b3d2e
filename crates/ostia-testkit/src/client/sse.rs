//! A reference reader for event streams: it follows the WHATWG rules literally (HTML standard, section 9.2.6) and is
//! not optimised. Other readers are compared with it.

/// One dispatched event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// `message` unless a field said otherwise.
    pub name: String,
    pub data: String,
    /// The last id seen so far.
    pub id: String,
}

/// Every event that a browser would dispatch. An event without its blank line at the end of the stream is discarded.
pub fn parse(stream: &[u8]) -> Vec<Event> {
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut events = Vec::new();
    let mut state = State::default();
    for line in lines(text) {
        if line.is_empty() {
            events.extend(state.dispatch());
        } else {
            state.field(line);
        }
    }
    events
}

#[derive(Default)]
struct State {
    name: String,
    data: String,
    id: String,
}

impl State {
    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            // `retry`, unknown fields, and comments, whose name is empty.
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return None;
        }
        data.pop();
        Some(Event {
            name: if name.is_empty() {
                "message".to_owned()
            } else {
                name
            },
            data,
            id: self.id.clone(),
        })
    }
}

/// Lines that end with LF, CR or CRLF; text after the last line end is not a line.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\r', '\n']) {
        lines.push(&rest[..end]);
        let skip = if rest[end..].starts_with("\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + skip..];
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn data(stream: &[u8]) -> Vec<String> {
        parse(stream).into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn every_line_ending_ends_a_line() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = format!("data: a{end}data:b{end}{end}data: [DONE]{end}{end}");
            assert_eq!(data(stream.as_bytes()), ["a\nb", "[DONE]"], "{end:?}");
        }
    }

    #[test]
    fn only_what_a_blank_line_ends_is_dispatched() {
        assert_eq!(data(b"data: a\n\ndata: b\n"), ["a"]);
        assert_eq!(data(b"data: a\n\ndata: b\n\n"), ["a", "b"]);
        assert_eq!(data(b": ping\n\nevent: x\n\n"), Vec::<String>::new());
    }

    #[test]
    fn names_ids_and_marks() {
        let events =
            parse("\u{feff}id: 7\nevent: error\nretry: 5\ndata:  two\n\ndata\n\n".as_bytes());
        assert_eq!(events.len(), 2);
        assert_eq!(
            (&*events[0].name, &*events[0].data, &*events[0].id),
            ("error", " two", "7")
        );
        assert_eq!(
            (&*events[1].name, &*events[1].data, &*events[1].id),
            ("message", "", "7")
        );
    }
}
