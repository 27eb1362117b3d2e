use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The bit of the flags that says that the sender records the trace.
const SAMPLED: u8 = 1;
/// The flags that version 00 of the header defines: sampled, and random trace id.
const KNOWN_FLAGS: u8 = 0b11;

/// A `traceparent` header: the span that caused a request (W3C Trace Context, level 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) flags: u8,
}

impl Context {
    /// `None`: there is no header, or more than one, or it is malformed. A receiver then starts its own trace.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(TRACEPARENT).iter();
        let only = all.next().filter(|_| all.next().is_none())?;
        Self::parse(only.as_bytes())
    }

    fn parse(text: &[u8]) -> Option<Self> {
        if text.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut fields = text.split(|byte| *byte == b'-');
        let [version] = bytes(fields.next()?)?;
        let context = Self {
            trace_id: bytes(fields.next()?)?,
            span_id: bytes(fields.next()?)?,
            flags: bytes::<1>(fields.next()?)?[0] & KNOWN_FLAGS,
        };
        // Later versions may have more fields.
        let is_whole = match version {
            0 => fields.next().is_none(),
            0xff => false,
            _ => true,
        };
        let is_valid = context.trace_id != [0; 16] && context.span_id != [0; 8];
        (is_whole && is_valid).then_some(context)
    }

    pub(super) const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The beginning of a trace that is recorded.
    pub(super) const fn root(trace_id: [u8; 16], span_id: [u8; 8]) -> Self {
        Self {
            trace_id,
            span_id,
            flags: SAMPLED,
        }
    }

    pub(super) fn header(&self) -> Option<HeaderValue> {
        let (trace, span) = (hex::encode(self.trace_id), hex::encode(self.span_id));
        HeaderValue::try_from(format!("00-{trace}-{span}-{:02x}", self.flags)).ok()
    }
}

fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_header_is_read_and_written() {
        let context = Context::parse(VALID.as_bytes()).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.header().unwrap(), VALID);
        let silent = Context::parse(VALID.replace("-01", "-00").as_bytes()).unwrap();
        assert!(!silent.is_sampled());
        let random = Context::parse(VALID.replace("-01", "-ff").as_bytes()).unwrap();
        assert_eq!(random.flags, 3, "flags without a meaning are not sent on");
    }

    #[test]
    fn a_later_version_may_say_more() {
        for (text, is_read) in [
            (
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                true,
            ),
            (
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
                true,
            ),
            (
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
                false,
            ),
            (
                "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                false,
            ),
        ] {
            assert_eq!(Context::parse(text.as_bytes()).is_some(), is_read, "{text}");
        }
    }

    #[test]
    fn malformed_headers_are_as_none() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        ] {
            assert_eq!(Context::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn two_headers_are_as_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert!(Context::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(Context::of(&headers), None);
    }
}
