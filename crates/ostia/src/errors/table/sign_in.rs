//! What sign-in refuses.

use http::{HeaderValue, StatusCode};

use super::{SHORTLY, seconds, store_unavailable};
use crate::identify::SignInError;
use crate::refusal::{LONGEST_WAIT, Refusal};

impl From<SignInError> for Refusal {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Missing => unauthorized(
                "missing_credentials",
                "You did not provide a key or token: send it as 'Authorization: Bearer ...'.",
                r#"Bearer realm="ostia""#,
            ),
            SignInError::TwoCredentials => Self::client(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "More than one credential was sent.",
            )
            .with_header(
                "www-authenticate",
                HeaderValue::from_static(r#"Bearer realm="ostia", error="invalid_request""#),
            ),
            SignInError::Malformed => unauthorized(
                "invalid_api_key",
                "The Authorization header contains no usable credential.",
                r#"Bearer realm="ostia", error="invalid_request""#,
            ),
            SignInError::UnsupportedScheme => unauthorized(
                "invalid_api_key",
                "Only 'Authorization: Bearer ...' is supported.",
                r#"Bearer realm="ostia""#,
            ),
            SignInError::InvalidKey => {
                invalid_token("invalid_api_key", "The key or token is not valid.")
            }
            SignInError::Expired => invalid_token("token_expired", "The key or token has expired."),
            SignInError::Reauthenticate(text) => invalid_token("reauthentication_required", text),
            SignInError::PolicyDenied(text) => {
                Self::client(StatusCode::FORBIDDEN, "policy_denied", text)
            }
            SignInError::Disabled => Self::account_disabled(),
            SignInError::NotLocal(text) => {
                Self::client(StatusCode::FORBIDDEN, "policy_denied", text)
            }
            SignInError::TooManyFailures(wait) => Self::client(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_failed_sign_ins",
                "Too many keys or tokens from your address were not valid. Wait, then try again with a valid one.",
            )
            .with_detail(format!(
                "limit address failed_sign_ins: free in {} s",
                seconds(wait)
            ))
            .with_retry_after(wait.min(LONGEST_WAIT)),
            SignInError::IdentityUnavailable => Self::gateway(
                StatusCode::SERVICE_UNAVAILABLE,
                "identity_unavailable",
                "Sign-in is not available right now. Please try again shortly.",
            )
            .with_retry_after(SHORTLY),
            SignInError::StoreUnavailable => store_unavailable(),
        }
    }
}

fn unauthorized(
    code: &'static str,
    message: impl Into<std::borrow::Cow<'static, str>>,
    challenge: &'static str,
) -> Refusal {
    Refusal::client(StatusCode::UNAUTHORIZED, code, message)
        .with_header("www-authenticate", HeaderValue::from_static(challenge))
}

fn invalid_token(
    code: &'static str,
    message: impl Into<std::borrow::Cow<'static, str>>,
) -> Refusal {
    unauthorized(
        code,
        message,
        r#"Bearer realm="ostia", error="invalid_token""#,
    )
}
