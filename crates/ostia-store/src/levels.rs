//! The levels of the roll-up: sums of rows by some columns, for an hour, a day or a month.
//!
//! A report uses the coarsest sums that suffice, so that a year is read as thousands of rows. Each level costs one upsert per
//! group in a batch, so there are few levels.

/// The columns that reports group by: the name in a report, the roll-up's column, and the expression over the ledger.
pub(crate) const DIMENSIONS: [(&str, &str, &str); 9] = [
    (
        "user",
        "person",
        "CASE WHEN username = '' THEN user_id ELSE username END",
    ),
    ("group", "group_id", "group_id"),
    ("project", "project", "project"),
    ("key", "key_id", "key_id"),
    ("model", "model", "model"),
    ("cluster", "cluster", "cluster"),
    ("endpoint", "endpoint_slug", "endpoint_slug"),
    ("api", "api", "api"),
    ("outcome", "outcome", "outcome"),
];

/// Some of [`DIMENSIONS`], a bit each.
pub(crate) type Dimensions = u16;

pub(crate) const WHO: Dimensions = 0b0_0000_1111;
pub(crate) const WHAT: Dimensions = 0b1_1111_0000;
pub(crate) const ALL: Dimensions = WHO | WHAT;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grain {
    Hour,
    Day,
    Month,
}

/// One kind of sums. Its rows are empty in the dimensions that it does not distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// Identifies the level in the database, so it never changes.
    pub(crate) number: i64,
    pub(crate) grain: Grain,
    pub(crate) dimensions: Dimensions,
}

pub(crate) const LEVELS: [Level; 6] = [
    Level::new(1, Grain::Hour, WHAT),
    Level::new(2, Grain::Day, WHAT),
    Level::new(3, Grain::Day, WHO),
    Level::new(4, Grain::Day, ALL),
    Level::new(5, Grain::Month, WHO),
    Level::new(6, Grain::Month, ALL),
];

impl Level {
    const fn new(number: i64, grain: Grain, dimensions: Dimensions) -> Self {
        Self {
            number,
            grain,
            dimensions,
        }
    }
}

/// The smallest set of dimensions that has levels and includes all of `needed`.
pub(crate) fn holding(needed: Dimensions) -> Dimensions {
    let sets = [WHO, WHAT, ALL];
    let found = sets.into_iter().find(|set| needed & !set == 0);
    found.unwrap_or(ALL)
}

pub(crate) fn level(dimensions: Dimensions, grain: Grain) -> Option<Level> {
    let levels = LEVELS.into_iter();
    let mut found = levels.filter(|level| level.dimensions == dimensions && level.grain == grain);
    found.next()
}

/// The bit of a dimension, by its name in reports.
pub(crate) fn dimension(name: &str) -> Option<Dimensions> {
    let place = DIMENSIONS.iter().position(|(known, ..)| *known == name)?;
    Some(1 << place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_has_days_to_sum_up() {
        for needed in 0..=ALL {
            let dimensions = holding(needed);
            assert_eq!(needed & !dimensions, 0);
            assert!(level(dimensions, Grain::Day).is_some());
        }
        assert_eq!(holding(dimension("key").unwrap()), WHO);
        assert_eq!(holding(dimension("outcome").unwrap()), WHAT);
        assert_eq!(dimension("hour"), None);
    }

    #[test]
    fn numbers_of_levels_are_unique() {
        let numbers: std::collections::BTreeSet<_> =
            LEVELS.iter().map(|level| level.number).collect();
        assert_eq!(numbers.len(), LEVELS.len());
    }
}
