use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Block, Builder, COUNT, Damaged, Sums};
use crate::levels::{Grain, LEVELS, Level};

type Row = ([u8; COUNT], i64, [i64; 4]);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let amount = prop_oneof![-3_i64..3, 0_i64..70_000, Just(i64::MAX >> 8), Just(1 << 40)];
    let sums = [amount.clone(), amount.clone(), amount.clone(), amount];
    let row = (
        proptest::array::uniform9(0_u8..4),
        490_000_i64..490_030,
        sums,
    );
    proptest::collection::vec(row, 0..80)
}

fn text(value: u8) -> &'static str {
    [
        "",
        "ann@lab.org",
        "m\u{e9}",
        "a name that is longer than the others",
    ][usize::from(value)]
}

fn sums([requests, prompt_tokens, completion_tokens, total_tokens]: [i64; 4]) -> Sums {
    Sums {
        requests,
        prompt_tokens,
        completion_tokens,
        total_tokens,
    }
}

fn built(rows: &[Row]) -> Block {
    let mut builder = Builder::default();
    for (values, hour, amounts) in rows {
        builder.add(values.map(text), *hour, sums(*amounts));
    }
    builder.build()
}

/// Each key by its texts, with its sums.
fn told(block: &Block) -> BTreeMap<(Vec<&str>, u32), [i64; 4]> {
    let entries = block.entries.iter().map(|entry| {
        let values = entry.key.values.iter().zip(&block.names);
        let values =
            values.map(|(place, names)| names.get(*place as usize).map_or("", |name| name));
        let sums = entry.sums;
        let sums = [
            sums.requests,
            sums.prompt_tokens,
            sums.completion_tokens,
            sums.total_tokens,
        ];
        ((values.collect(), entry.key.hour), sums)
    });
    entries.collect()
}

/// The same by adding up row by row.
fn expected(rows: &[Row], level: Level) -> BTreeMap<(Vec<&'static str>, u32), [i64; 4]> {
    let mut all = BTreeMap::<_, [i64; 4]>::new();
    for (values, hour, amounts) in rows {
        let values = values.iter().enumerate();
        let values = values.map(|(at, value)| if level.has(at) { text(*value) } else { "" });
        let hour = if level.grain == Grain::Hour { *hour } else { 0 };
        let sums = all
            .entry((values.collect(), u32::try_from(hour).unwrap()))
            .or_default();
        for (sum, amount) in sums.iter_mut().zip(amounts) {
            *sum = sum.saturating_add(*amount);
        }
    }
    all.retain(|_, sums| *sums != [0; 4]);
    all
}

proptest! {
    #[test]
    fn blocks_are_sums_of_their_rows(rows in rows(), cut in 0_usize..80) {
        let (one, other) = rows.split_at(cut.min(rows.len()));
        let (one, other, whole) = (built(one), built(other), built(&rows));
        prop_assert_eq!(&Block::from_bytes(&whole.to_bytes()), &Ok(whole.clone()));
        for level in LEVELS {
            let expected = expected(&rows, level);
            let at_level = whole.at(level);
            prop_assert_eq!(told(&at_level), expected.clone());
            // Blocks of parts become the same block.
            let mut builder = Builder::default();
            for part in [&one, &other] {
                let part = Block::from_bytes(&part.at(level).to_bytes()).unwrap();
                builder.add_block(&part, level);
            }
            let both = builder.build();
            prop_assert_eq!(told(&both), expected);
        }
    }

    #[test]
    fn whatever_the_bytes_are_reading_ends(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), at in 0_usize..200, flip in any::<u8>()) {
        let _ = Block::from_bytes(&bytes);
        bytes.insert(0, 1);
        let _ = Block::from_bytes(&bytes);
        let mut real = built(&[([1; COUNT], 490_000, [1, 2, 3, 4]), ([2; COUNT], 490_001, [300, 2, 3, 5])]).to_bytes();
        let at = at % real.len();
        real[at] ^= flip;
        let _ = Block::from_bytes(&real);
        prop_assert_eq!(Block::from_bytes(&real[..at]), Err(Damaged));
    }
}

#[test]
fn what_was_taken_back_leaves_nothing() {
    let row = ([1; COUNT], 490_000, [1, 20, 30, 50]);
    let mut builder = Builder::default();
    builder.add_block(
        &built(&[row, ([2; COUNT], 490_000, [1, 1, 1, 2])]),
        crate::levels::FINEST,
    );
    builder.add(row.0.map(text), row.1, sums(row.2).negated());
    assert_eq!(told(&builder.build()).len(), 1);
}

#[test]
fn persons_are_renamed_and_what_they_had_alone_is_added_up() {
    let mut keys = [[1; COUNT]; 2];
    keys[1][3] = 2;
    let block = built(&[
        (keys[0], 490_000, [1, 1, 1, 2]),
        (keys[1], 490_000, [2, 2, 2, 4]),
    ]);
    let rename = |name: &str| (name == "ann@lab.org").then(|| "person-1".to_owned());
    let renamed = block.clone().rename(crate::levels::FINEST, true, rename);
    assert!(renamed.persons().iter().any(|name| &**name == "person-1"));
    assert!(!renamed.persons().iter().any(|name| name.contains("ann")));
    let lines = told(&renamed);
    assert_eq!(lines.values().collect::<Vec<_>>(), [&[3, 3, 3, 6]]);
    assert_eq!(lines.keys().next().unwrap().0[3], "");
    assert_eq!(
        told(&block.rename(crate::levels::FINEST, false, rename)).len(),
        2
    );
}
