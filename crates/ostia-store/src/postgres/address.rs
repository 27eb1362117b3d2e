//! A PostgreSQL URL, the value of `store.url`.

use std::str::FromStr as _;

use ostia_core::StoreError;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

/// The query parameters that are allowed. Others would be ignored silently, or could be a password in the wrong place.
const PARAMETERS: [&str; 14] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "password",
    "port",
    "ssl-mode",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
    "options",
];

pub(super) struct Address {
    pub(super) options: PgConnectOptions,
    /// False behind pgbouncer in transaction mode, where each transaction may use another connection to the server.
    pub(super) keeps_statements: bool,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let mut keeps_statements = true;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !PARAMETERS.contains(&name) {
                let known = PARAMETERS.join(", ");
                return Err(broken(&format!(
                    "a parameter that is not known; known are {known}"
                )));
            }
            if name == "statement-cache-capacity" && value == "0" {
                keeps_statements = false;
            }
        }
        // The parser's message could show parts of the URL.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            broken("it cannot be understood: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE")
        })?;
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("ostia"),
        };
        Ok(Self {
            // pgbouncer refuses this parameter, and nothing here reads floating-point numbers.
            options: options.extra_float_digits(None).disable_statement_logging(),
            keeps_statements,
        })
    }
}

fn broken(text: &str) -> StoreError {
    StoreError::Broken(format!("store.url: {text}"))
}
