use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::SignInError;

/// A longer credential is refused: no provider issues such, and it would have to be hashed.
const LONGEST: usize = 16 * 1024;
const KEY_HEADERS: [&str; 2] = ["x-api-key", "api-key"];

/// The credential of a request: `Authorization: Bearer`, or, where there is no Authorization, `x-api-key`.
#[derive(Clone, Copy)]
pub struct Credential<'a>(&'a str);

impl<'a> Credential<'a> {
    /// Reads a head by RFC 6750 section 2.1. Credentials in the query are not looked at.
    pub fn from_headers(headers: &'a HeaderMap) -> Result<Self, SignInError> {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let token = match (lines.next(), lines.next()) {
            (Some(_), Some(_)) => return Err(SignInError::TwoCredentials),
            (Some(line), None) => bearer(line.as_bytes())?,
            (None, _) => api_key(headers)?,
        };
        if token.len() > LONGEST {
            return Err(SignInError::InvalidKey);
        }
        Ok(Self(token))
    }

    pub fn token(&self) -> &'a str {
        self.0
    }
}

fn bearer(line: &[u8]) -> Result<&str, SignInError> {
    let line = std::str::from_utf8(line)
        .ok()
        .filter(|line| line.is_ascii())
        .ok_or(SignInError::InvalidKey)?;
    let (scheme, token) = line.split_once(' ').unwrap_or((line, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(SignInError::UnsupportedScheme);
    }
    let token = token.trim();
    if token.is_empty() || token.contains(' ') {
        return Err(SignInError::Malformed);
    }
    Ok(token)
}

fn api_key(headers: &HeaderMap) -> Result<&str, SignInError> {
    let mut values = KEY_HEADERS
        .iter()
        .flat_map(|name| headers.get_all(*name).iter());
    let Some(value) = values.next() else {
        return Err(SignInError::Missing);
    };
    if values.next().is_some_and(|second| second != value) {
        return Err(SignInError::TwoCredentials);
    }
    let token = value.to_str().map_err(|_| SignInError::InvalidKey)?.trim();
    if token.is_empty() {
        return Err(SignInError::Malformed);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::Credential;
    use crate::identify::SignInError;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn read(lines: &[(&str, &[u8])]) -> Result<String, SignInError> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        Credential::from_headers(&headers).map(|credential| credential.token().to_owned())
    }

    #[test]
    fn header_forms() {
        let ok = |token: &str| Ok(token.to_owned());
        assert_eq!(read(&[]), Err(SignInError::Missing));
        assert_eq!(read(&[("authorization", b"bearer K")]), ok("K"));
        assert_eq!(read(&[("authorization", b"BEARER  K")]), ok("K"));
        assert_eq!(
            read(&[("authorization", b"Bearer")]),
            Err(SignInError::Malformed)
        );
        assert_eq!(
            read(&[("authorization", b"Bearer a b")]),
            Err(SignInError::Malformed)
        );
        assert_eq!(
            read(&[("authorization", b"Basic x")]),
            Err(SignInError::UnsupportedScheme)
        );
        assert_eq!(
            read(&[("authorization", "Bearer é".as_bytes())]),
            Err(SignInError::InvalidKey)
        );
        let two: &[(&str, &[u8])] = &[
            ("authorization", b"Bearer a"),
            ("authorization", b"Bearer a"),
        ];
        assert_eq!(read(two), Err(SignInError::TwoCredentials));
        assert_eq!(read(&[("x-api-key", b"K")]), ok("K"));
        assert_eq!(read(&[("api-key", b"K")]), ok("K"));
        assert_eq!(
            read(&[("authorization", b"Basic x"), ("x-api-key", b"K")]),
            Err(SignInError::UnsupportedScheme)
        );
        assert_eq!(
            read(&[("authorization", &[b'B'; 20_000])]),
            Err(SignInError::UnsupportedScheme)
        );
        let long = [b"Bearer ".as_slice(), &[b'k'; 20_000]].concat();
        assert_eq!(
            read(&[("authorization", &long)]),
            Err(SignInError::InvalidKey)
        );
    }
}
