/// What was wrong with a listing that could be read all the same: how often, and where first. Nothing of the listing
/// itself is kept, because users' variables may hold secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    count: u64,
    first: Option<Box<str>>,
}

impl Faults {
    /// `describe` runs for the first fault only.
    pub fn note(&mut self, describe: impl FnOnce() -> String) {
        self.count = self.count.saturating_add(1);
        self.first.get_or_insert_with(|| describe().into());
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// What the first fault is and where it stands.
    pub fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }
}
