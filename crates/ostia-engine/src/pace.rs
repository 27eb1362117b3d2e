use std::time::Duration;

/// How fast a model writes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub first_token: Duration,
    pub between_tokens: Duration,
}

impl Pace {
    /// A fast reader's speed.
    pub const HUMAN: Self = Self {
        first_token: Duration::from_millis(150),
        between_tokens: Duration::from_millis(40),
    };
    /// Without pauses.
    pub const NONE: Self = Self {
        first_token: Duration::ZERO,
        between_tokens: Duration::ZERO,
    };

    /// 0 means without pauses.
    pub fn tokens_per_second(rate: u32) -> Self {
        match rate {
            0 => Self::NONE,
            rate => Self {
                between_tokens: Duration::from_secs(1) / rate,
                ..Self::HUMAN
            },
        }
    }
}
