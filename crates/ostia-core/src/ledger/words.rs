use super::value::{Held, Kind, Value};

/// An enum whose variants are words of the ledger. A variant's position is its number in the journal, so new words are
/// added at the end.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub enum $name {
            $($(#[$note])* $variant,)+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl<'a> Held<'a> for $name {
            type Plain<'s> = &'static str;

            const KIND: Kind = Kind::Word(Self::WORDS);

            fn value(&self) -> Value<'_> {
                Value::Word { place: *self as usize, text: self.as_str() }
            }

            fn plain(&self) -> &'static str {
                self.as_str()
            }

            /// `None` for a word of a newer ostia.
            fn of(value: Value<'a>) -> Option<Self> {
                match value {
                    Value::Word { place, .. } => Self::ALL.get(place).copied(),
                    Value::Absent => Some(Self::default()),
                    _ => None,
                }
            }
        }
    };
}

words! {
    /// How a request ended. `Ok` is a complete 2xx only.
    Outcome {
        Ok = "ok",
        ClientClosed = "client_closed",
        UpstreamError = "upstream_error",
        UpstreamTimeout = "upstream_timeout",
        Rejected = "rejected",
        #[default]
        Interrupted = "interrupted",
    }
}

words! {
    /// How far a request had come when it ended.
    Phase {
        #[default]
        ReadingBody = "reading_body",
        Queued = "queued",
        Connecting = "connecting",
        WaitingHeaders = "waiting_headers",
        Streaming = "streaming",
        Truncated = "truncated",
        Done = "done",
    }
}

words! {
    /// Where the token counts come from.
    UsageSource {
        Upstream = "upstream",
        Estimated = "estimated",
        #[default]
        None = "none",
    }
}

words! {
    /// How long a request may wait: batch work waits behind everybody.
    Class {
        #[default]
        Interactive = "interactive",
        Batch = "batch",
    }
}

words! {
    /// Where an endpoint's backend runs.
    Location {
        /// No endpoint was chosen.
        #[default]
        Nowhere = "",
        OnSite = "on_site",
        External = "external",
    }
}

impl Outcome {
    /// The outcome of a request that nobody finished: the client went away, unless the gateway itself gives up or fails.
    pub fn unfinished(shutting_down: bool) -> Self {
        if shutting_down || std::thread::panicking() {
            Self::Interrupted
        } else {
            Self::ClientClosed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::Outcome;

    struct Guard<'a>(&'a mut Option<Outcome>);

    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            *self.0 = Some(Outcome::unfinished(false));
        }
    }

    #[test]
    fn who_hung_up_is_told_from_a_gateway_that_failed() {
        let mut seen = None;
        drop(Guard(&mut seen));
        assert_eq!(seen, Some(Outcome::ClientClosed));
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let _guard = Guard(&mut seen);
            panic!();
        }));
        assert!(failed.is_err());
        assert_eq!(seen, Some(Outcome::Interrupted));
        assert_eq!(Outcome::unfinished(true), Outcome::Interrupted);
    }
}
