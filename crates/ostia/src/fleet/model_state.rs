/// A cluster's report on a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelState {
    Running,
    Starting,
    Queued,
    Stopped,
    Unknown,
    /// It finishes its requests, and takes no new ones.
    Draining,
}

impl ModelState {
    pub(super) const fn of(number: u8) -> Self {
        match number {
            0 => Self::Running,
            1 => Self::Starting,
            2 => Self::Queued,
            3 => Self::Stopped,
            5 => Self::Draining,
            _ => Self::Unknown,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Queued => "queued",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
            Self::Draining => "draining",
        }
    }

    /// How far it is from serving.
    pub const fn distance(self) -> u8 {
        match self {
            Self::Running => 0,
            Self::Unknown => 1,
            Self::Starting => 2,
            Self::Queued => 3,
            Self::Draining => 4,
            Self::Stopped => 5,
        }
    }
}
