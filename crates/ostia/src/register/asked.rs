use std::time::Duration;

use ostia_core::LeaseState;
use serde::Deserialize;
use serde_json::Value;

use super::RegisterFault;

/// A holder's call. Times are in seconds from now, so that clocks do not have to agree.
#[derive(Debug)]
pub struct Asked {
    /// The engine's base URL, such as `http://node17:8000/v1`.
    pub url: Option<String>,
    /// The lease to renew.
    pub lease: Option<String>,
    fields: Fields,
}

/// The body, field by field, so that a wrong value is told with the name of its field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Fields {
    url: Option<Value>,
    lease: Option<Value>,
    /// Grows with every call.
    sequence: Option<Value>,
    ttl: Option<Value>,
    /// When the lease drains by itself.
    until: Option<Value>,
    /// When the engine's job is expected to start.
    starts_in: Option<Value>,
    max_in_flight: Option<Value>,
    state: Option<Value>,
}

const USUAL_TTL: Duration = Duration::from_secs(60);
const SHORTEST_TTL: Duration = Duration::from_secs(1);
const LONGEST_TTL: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
const LONGEST_URL: usize = 1024;
/// The largest number that every JSON reader keeps exactly (RFC 8259 section 6).
const LAST_SEQUENCE: i64 = (1 << 53) - 1;

impl Asked {
    /// # Errors
    ///
    /// The body is not such an object.
    pub fn read(body: &[u8]) -> Result<Self, RegisterFault> {
        let wrong = |text: String| RegisterFault::Value("body", text);
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(wrong("has to be a JSON object".to_owned()));
        }
        let read = serde_json::from_slice::<Fields>(body);
        let mut fields = read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let url = text("url", fields.url.take())?;
        if url.as_ref().is_some_and(|url| url.len() > LONGEST_URL) {
            return Err(RegisterFault::Value("url", "is too long".to_owned()));
        }
        let lease = text("lease", fields.lease.take())?;
        Ok(Self { url, lease, fields })
    }

    pub(super) fn sequence(&self) -> Result<Option<i64>, RegisterFault> {
        let Some(value) = &self.fields.sequence else {
            return Ok(None);
        };
        let number = value.as_i64();
        match number.filter(|number| (0..=LAST_SEQUENCE).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(RegisterFault::Value(
                "sequence",
                format!("has to be a whole number from 0 to {LAST_SEQUENCE}"),
            )),
        }
    }

    pub(super) fn max_in_flight(&self) -> Result<u32, RegisterFault> {
        let Some(value) = &self.fields.max_in_flight else {
            return Ok(0);
        };
        let number = value.as_u64().and_then(|number| number.try_into().ok());
        number.ok_or_else(|| {
            let wanted = format!("has to be a whole number from 0 (no limit) to {}", u32::MAX);
            RegisterFault::Value("max_in_flight", wanted)
        })
    }

    pub(super) fn ttl(&self) -> Result<Duration, RegisterFault> {
        let ttl = time("ttl", self.fields.ttl.as_ref())?.unwrap_or(USUAL_TTL);
        match (SHORTEST_TTL..=LONGEST_TTL).contains(&ttl) {
            true => Ok(ttl),
            false => Err(RegisterFault::Value(
                "ttl",
                "has to be from 1 to 3600 seconds".to_owned(),
            )),
        }
    }

    pub(super) fn until(&self) -> Result<Option<Duration>, RegisterFault> {
        time("until", self.fields.until.as_ref())
    }

    pub(super) fn starts_in(&self) -> Result<Option<Duration>, RegisterFault> {
        time("starts_in", self.fields.starts_in.as_ref())
    }

    pub(super) fn state(&self) -> Result<LeaseState, RegisterFault> {
        let Some(value) = &self.fields.state else {
            return Ok(LeaseState::Running);
        };
        let named = value.as_str().and_then(LeaseState::of_word);
        named.ok_or_else(|| {
            let words = LeaseState::ALL.map(LeaseState::as_str).join(", ");
            RegisterFault::Value("state", format!("has to be one of {words}"))
        })
    }
}

fn text(name: &'static str, value: Option<Value>) -> Result<Option<String>, RegisterFault> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(RegisterFault::Value(name, "has to be a text".to_owned())),
    }
}

fn time(name: &'static str, value: Option<&Value>) -> Result<Option<Duration>, RegisterFault> {
    let Some(value) = value else {
        return Ok(None);
    };
    let seconds = value.as_f64();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match time.filter(|time| *time <= LONGEST) {
        Some(time) => Ok(Some(time)),
        None => Err(RegisterFault::Value(
            name,
            "has to be a number of seconds from now, up to a year".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_bounded_and_unknown_words_are_told() {
        let read = |text: &str| Asked::read(text.as_bytes());
        let asked = read(r#"{"url": "http://n:1", "ttl": 30, "until": 3600.5}"#).unwrap();
        assert_eq!(asked.ttl().unwrap(), Duration::from_secs(30));
        assert_eq!(
            asked.until().unwrap(),
            Some(Duration::from_millis(3_600_500))
        );
        assert_eq!(read("{}").unwrap().ttl().unwrap(), USUAL_TTL);
        for wrong in ["", "[]", "null", "7", r#"{"slug": "m"}"#, r#"{"url": 7}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read(&format!(r#"{{"url": "http://{}"}}"#, "n".repeat(2000))).is_err());
        for ttl in ["0", "0.5", "3601", "-1", "1e300"] {
            let asked = read(&format!(r#"{{"ttl": {ttl}}}"#)).unwrap();
            assert!(asked.ttl().is_err(), "{ttl}");
        }
        let told = |text: &str| {
            let asked = read(text).unwrap();
            let fault = asked.ttl().err().or(asked.until().err());
            let fault = fault.or(asked.starts_in().err()).or(asked.sequence().err());
            let fault = fault
                .or(asked.max_in_flight().err())
                .or(asked.state().err());
            fault.unwrap().to_string()
        };
        for (text, field) in [
            (r#"{"ttl": "60s"}"#, "ttl"),
            (r#"{"ttl": true}"#, "ttl"),
            (r#"{"until": -1}"#, "until"),
            (r#"{"until": 1e12}"#, "until"),
            (r#"{"starts_in": []}"#, "starts_in"),
            (r#"{"sequence": -1}"#, "sequence"),
            (r#"{"sequence": 9223372036854775807}"#, "sequence"),
            (r#"{"sequence": 1.5}"#, "sequence"),
            (r#"{"max_in_flight": -1}"#, "max_in_flight"),
            (r#"{"max_in_flight": 4294967296}"#, "max_in_flight"),
            (r#"{"state": 3}"#, "state"),
        ] {
            let told = told(text);
            assert!(
                told.starts_with(&format!("'{field}' has to be")),
                "{text}: {told}"
            );
        }
        assert!(read(r#"{"state": "well"}"#).unwrap().state().is_err());
        assert_eq!(read("{}").unwrap().state().unwrap(), LeaseState::Running);
    }
}
