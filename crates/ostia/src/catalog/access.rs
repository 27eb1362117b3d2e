/// Who may use a cluster or an endpoint. `None` is no restriction; groups and domains must both hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The principal needs at least one.
    pub groups: Option<Box<[Box<str>]>>,
    /// Lower case; the principal's domain must be one of them.
    pub domains: Option<Box<[Box<str>]>>,
}

impl Access {
    pub const fn is_open(&self) -> bool {
        self.groups.is_none() && self.domains.is_none()
    }

    /// Rules that nobody can meet: what stands in for rules that could not be read.
    pub fn nobody() -> Self {
        Self {
            groups: Some(Box::default()),
            domains: Some(Box::default()),
        }
    }
}
