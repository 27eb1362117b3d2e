//! The levels of the roll-up: sums of rows by some columns, for an hour, a day or a month.
//!
//! A report takes the coarsest sums that it can be made of. Each level costs a block in every batch, so there are few.

/// The name in a report, as `columns::reported_user` says it.
pub(crate) const REPORTED: &str =
    "COALESCE(NULLIF(reported_user, ''), NULLIF(username, ''), user_id)";

/// The columns that reports group by: the name in a report, and how the ledger says it.
pub(crate) const DIMENSIONS: [(&str, &str); 9] = [
    ("user", REPORTED),
    ("group", "group_id"),
    ("project", "project"),
    ("key", "key_id"),
    ("model", "model"),
    ("cluster", "cluster"),
    ("endpoint", "endpoint_slug"),
    ("api", "api"),
    ("outcome", "outcome"),
];

/// Places in [`DIMENSIONS`].
pub(crate) const USER: usize = 0;
pub(crate) const KEY: usize = 3;
pub(crate) const OUTCOME: usize = 8;

/// Some of [`DIMENSIONS`], a bit each.
pub(crate) type Dimensions = u16;

/// Each level tells outcomes apart: what was answered, refused and failed is counted by them.
const OUTCOMES: Dimensions = 1 << OUTCOME;
const WHO: Dimensions = 0b0_0000_1111 | OUTCOMES;
const WHAT: Dimensions = 0b1_1111_0000;
const ALL: Dimensions = WHO | WHAT;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grain {
    Hour,
    Day,
    Month,
}

/// One kind of sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// Identifies the level in the database, so it never changes.
    pub(crate) number: i64,
    /// What its entries tell apart. Those of hours are kept in blocks of a day.
    pub(crate) grain: Grain,
    pub(crate) dimensions: Dimensions,
}

/// By hour and everything. The others can be made of it.
pub(crate) const FINEST: Level = Level::new(1, Grain::Hour, ALL);

/// Those with the fewest entries first.
pub(crate) const LEVELS: [Level; 4] = [
    Level::new(3, Grain::Day, WHO),
    Level::new(2, Grain::Hour, WHAT),
    Level::new(4, Grain::Month, ALL),
    FINEST,
];

impl Level {
    const fn new(number: i64, grain: Grain, dimensions: Dimensions) -> Self {
        Self {
            number,
            grain,
            dimensions,
        }
    }

    pub(crate) const fn has(self, place: usize) -> bool {
        self.dimensions & (1 << place) != 0
    }

    pub(crate) const fn has_persons(self) -> bool {
        self.has(USER)
    }

    /// What one block of it covers.
    pub(crate) const fn block(self) -> Grain {
        match self.grain {
            Grain::Hour | Grain::Day => Grain::Day,
            Grain::Month => Grain::Month,
        }
    }

    /// Whether sums of hours, days or months can be taken from it.
    fn gives(self, grain: Grain) -> bool {
        match grain {
            Grain::Month => self.grain == Grain::Month,
            grain => self.grain <= grain,
        }
    }
}

/// Where sums by all of `needed` are taken from.
pub(crate) fn level(needed: Dimensions, grain: Grain) -> Option<Level> {
    let fits = |level: &Level| needed & !level.dimensions == 0 && level.gives(grain);
    LEVELS.into_iter().find(fits)
}

/// The bit of a dimension, by its name in reports.
pub(crate) fn dimension(name: &str) -> Option<Dimensions> {
    let place = DIMENSIONS.iter().position(|(known, _)| *known == name)?;
    Some(1 << place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_has_sums_of_each_grain() {
        for needed in 0..=ALL {
            for grain in [Grain::Hour, Grain::Day, Grain::Month] {
                let level = level(needed, grain).unwrap();
                assert_eq!(needed & !level.dimensions, 0);
            }
        }
        let number = |name: &str, grain| level(dimension(name).unwrap(), grain).unwrap().number;
        assert_eq!(number("key", Grain::Day), 3);
        assert_eq!(number("key", Grain::Hour), 1);
        assert_eq!(number("model", Grain::Hour), 2);
        assert_eq!(dimension("hour"), None);
        assert_eq!(DIMENSIONS[USER].0, "user");
        assert_eq!(DIMENSIONS[KEY].0, "key");
        assert_eq!(DIMENSIONS[OUTCOME].0, "outcome");
    }

    #[test]
    fn numbers_of_levels_are_unique() {
        let numbers: std::collections::BTreeSet<_> =
            LEVELS.iter().map(|level| level.number).collect();
        assert_eq!(numbers.len(), LEVELS.len());
    }
}
