use std::borrow::Cow;

use super::{DIALECTS, Dialect, PLAIN, pass_through, responses};

/// One API of a dialect, as listed in a table.
#[derive(Debug)]
pub struct Service {
    /// The path after `/v1/`; also its name in `openai_endpoints` and in the ledger.
    pub name: &'static str,
    pub answers: Answers,
    /// Whether a model runs for it. Counting or splitting a text uses no tokens.
    pub runs_a_model: bool,
    /// Whether its response is text that the model generates, so that output tokens can be estimated from its length.
    pub generates_text: bool,
    /// Whether an `api_url` that ends in it points to this API, not to the server's base.
    pub is_url_tail: bool,
}

/// What a response that is not a stream must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// One JSON object.
    Object,
    /// Any JSON.
    Json,
    /// Audio, images, transcripts: whatever they say they are. Their size tells nothing about tokens, and requests may
    /// be `multipart/form-data`.
    Media,
}

/// The API that a request calls.
#[derive(Debug, Clone)]
pub struct Api {
    name: Cow<'static, str>,
    service: &'static Service,
    dialect: &'static dyn Dialect,
}

impl Service {
    /// Most APIs: a model runs, and its response is not text.
    pub const fn new(name: &'static str, answers: Answers) -> Self {
        Self {
            name,
            answers,
            runs_a_model: true,
            generates_text: false,
            is_url_tail: true,
        }
    }

    pub const fn of_text(name: &'static str) -> Self {
        Self {
            generates_text: true,
            ..Self::new(name, Answers::Object)
        }
    }

    pub const fn without_model(self) -> Self {
        Self {
            runs_a_model: false,
            is_url_tail: false,
            ..self
        }
    }
}

impl Api {
    /// The APIs listed in a dialect's table.
    pub fn known() -> impl Iterator<Item = Self> {
        DIALECTS.iter().flat_map(|dialect| {
            let services = dialect.services().iter();
            services.map(|service| Self {
                name: Cow::Borrowed(service.name),
                service,
                dialect: *dialect,
            })
        })
    }

    /// The API that a path after `/v1/` names. Names that no table lists are passed through.
    pub fn parse(path: &str) -> Self {
        Self::known()
            .find(|api| api.name == path)
            .unwrap_or_else(|| Self {
                name: Cow::Owned(path.to_owned()),
                service: pass_through::unlisted(path),
                dialect: PLAIN,
            })
    }

    /// A response that a backend stores. Not an API of its own: no cluster lists it.
    pub fn stored_response() -> Self {
        Self {
            name: Cow::Borrowed(responses::STORED.name),
            service: &responses::STORED,
            dialect: &responses::Responses,
        }
    }

    /// Whether a dialect's table lists it.
    pub fn is_listed(&self) -> bool {
        matches!(self.name, Cow::Borrowed(_))
    }

    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The name, borrowed if a table lists it.
    pub fn name(&self) -> Cow<'static, str> {
        self.name.clone()
    }

    pub fn dialect(&self) -> &'static dyn Dialect {
        self.dialect
    }

    pub fn answers(&self) -> Answers {
        self.service.answers
    }

    pub fn runs_a_model(&self) -> bool {
        self.service.runs_a_model
    }

    pub fn generates_text(&self) -> bool {
        self.service.generates_text
    }

    pub fn answers_with_media(&self) -> bool {
        self.service.answers == Answers::Media
    }

    /// Only these accept `multipart/form-data`.
    pub fn takes_forms(&self) -> bool {
        self.service.answers == Answers::Media
    }
}

/// Two APIs are equal if their names are.
impl PartialEq for Api {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Api {}

/// The longest API name at the end of a path, and the path before it.
pub fn url_tail(path: &str) -> Option<(&str, &'static str)> {
    DIALECTS
        .iter()
        .flat_map(|dialect| dialect.services())
        .filter(|service| service.is_url_tail)
        .filter_map(|service| {
            let base = path.strip_suffix(service.name)?.strip_suffix('/')?;
            Some((base, service.name))
        })
        .max_by_key(|(_, name)| name.len())
}
