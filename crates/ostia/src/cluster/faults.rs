/// The mistakes in a listing that could be read nevertheless: how many, and where the first is. The text of the listing is
/// not kept, because users' variables may hold secrets.
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

    /// Adds those of a later part of the listing.
    pub fn add(&mut self, more: Self) {
        self.count = self.count.saturating_add(more.count);
        if let Some(first) = more.first {
            self.first.get_or_insert(first);
        }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// What the first fault is, and where it is.
    pub fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }
}
