use std::time::Duration;

use ostia::catalog::{ApiUrl, HttpUrl, Scheme};

use crate::commands::web::Page;
use crate::failure::Failure;

/// How long a health check may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The engine beside this command.
pub(super) struct Engine {
    url: HttpUrl,
}

impl Engine {
    /// `url`: its base URL; `health`: a path on its host that is checked instead of its list of models.
    pub fn new(url: &str, health: Option<&str>) -> Result<Self, Failure> {
        let wrong = |fault| Failure::usage(format!("--url {fault}"));
        let base = ApiUrl::parse(url).map_err(wrong)?;
        let scheme = match base.origin.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let host = format!("{scheme}://{}", base.origin.authority());
        let asked = match health {
            Some(path) if path.starts_with('/') => format!("{host}{path}"),
            Some(_) => return Err(Failure::usage("--health is a path, such as /health")),
            None => format!("{host}{}/models", base.base_path),
        };
        Ok(Self {
            url: HttpUrl::parse_bare(&asked).map_err(wrong)?,
        })
    }

    /// Whether it serves. An engine must answer its health check, and list models.
    pub async fn is_well(&self) -> Result<(), String> {
        let page = Page {
            patience: PATIENCE,
            ..Page::default()
        };
        let answer = page.get(&self.url).await;
        let answer = answer.map_err(|failure| failure.text().to_owned())?;
        if !answer.status.is_success() {
            return Err(format!("{} answered {}", self.url.base(), answer.status));
        }
        let is_list = self.url.path.ends_with("/models");
        let lists = || answer.json().is_some_and(|list| list["data"].is_array());
        match is_list && !lists() {
            true => Err(format!("{} gives no list of models", self.url.base())),
            false => Ok(()),
        }
    }
}
