use std::time::Duration;

use ostia_core::LeaseState;
use serde::Deserialize;

use super::RegisterFault;

/// A holder's call. Times are in seconds from now, so that clocks do not have to agree.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The engine's base URL, such as `http://node17:8000/v1`.
    pub url: Option<String>,
    /// The lease to renew.
    pub lease: Option<String>,
    /// Grows with every call.
    pub sequence: Option<i64>,
    #[serde(default)]
    pub ttl: Option<f64>,
    /// When the lease drains by itself.
    pub until: Option<f64>,
    /// When the engine's job is expected to start.
    pub starts_in: Option<f64>,
    #[serde(default)]
    pub max_in_flight: u32,
    pub state: Option<String>,
}

const USUAL_TTL: Duration = Duration::from_secs(60);
const SHORTEST_TTL: Duration = Duration::from_secs(1);
const LONGEST_TTL: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
const LONGEST_URL: usize = 1024;

impl Asked {
    /// # Errors
    ///
    /// The body is not such an object.
    pub fn read(body: &[u8]) -> Result<Self, RegisterFault> {
        let read = serde_json::from_slice::<Self>(body);
        let asked = read.map_err(|error| RegisterFault::Value("body", error.to_string()))?;
        match &asked.url {
            Some(url) if url.len() > LONGEST_URL => {
                Err(RegisterFault::Value("url", "is too long".to_owned()))
            }
            _ => Ok(asked),
        }
    }

    pub(super) fn ttl(&self) -> Result<Duration, RegisterFault> {
        let ttl = time("ttl", self.ttl)?.unwrap_or(USUAL_TTL);
        match (SHORTEST_TTL..=LONGEST_TTL).contains(&ttl) {
            true => Ok(ttl),
            false => Err(RegisterFault::Value(
                "ttl",
                "has to be from 1 to 3600 seconds".to_owned(),
            )),
        }
    }

    pub(super) fn until(&self) -> Result<Option<Duration>, RegisterFault> {
        time("until", self.until)
    }

    pub(super) fn starts_in(&self) -> Result<Option<Duration>, RegisterFault> {
        time("starts_in", self.starts_in)
    }

    pub(super) fn state(&self) -> Result<LeaseState, RegisterFault> {
        let Some(word) = &self.state else {
            return Ok(LeaseState::Running);
        };
        LeaseState::of_word(word).ok_or_else(|| {
            let words = LeaseState::ALL.map(LeaseState::as_str).join(", ");
            RegisterFault::Value("state", format!("has to be one of {words}"))
        })
    }
}

fn time(name: &'static str, seconds: Option<f64>) -> Result<Option<Duration>, RegisterFault> {
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    let time = Duration::try_from_secs_f64(seconds).ok();
    match time.filter(|time| *time <= LONGEST) {
        Some(time) => Ok(Some(time)),
        None => Err(RegisterFault::Value(
            name,
            "has to be seconds from now, up to a year".to_owned(),
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
        for wrong in [
            "",
            "[]",
            r#"{"ttl": "60s"}"#,
            r#"{"slug": "m"}"#,
            r#"{"max_in_flight": -1}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read(&format!(r#"{{"url": "http://{}"}}"#, "n".repeat(2000))).is_err());
        for ttl in ["0", "0.5", "3601", "-1", "1e300"] {
            let asked = read(&format!(r#"{{"ttl": {ttl}}}"#)).unwrap();
            assert!(asked.ttl().is_err(), "{ttl}");
        }
        assert!(read(r#"{"state": "well"}"#).unwrap().state().is_err());
        assert_eq!(read("{}").unwrap().state().unwrap(), LeaseState::Running);
    }
}
