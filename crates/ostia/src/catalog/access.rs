/// Who may use a cluster or an endpoint. `None` means no restriction; groups and domains must both match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The caller must be in at least one of them.
    pub groups: Option<Box<[Box<str>]>>,
    /// In lower case; the caller's domain must be one of them.
    pub domains: Option<Box<[Box<str>]>>,
}

impl Access {
    pub const fn is_open(&self) -> bool {
        self.groups.is_none() && self.domains.is_none()
    }

    /// Rules that nobody can meet. They replace rules that could not be read, so that a mistake never opens access.
    pub fn nobody() -> Self {
        Self {
            groups: Some(Box::default()),
            domains: Some(Box::default()),
        }
    }
}
