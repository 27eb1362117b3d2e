//! Texts that are named by numbers.

use std::collections::HashMap;

/// Each text once, with its place.
#[derive(Debug, Default)]
pub(crate) struct Names {
    texts: Vec<Box<str>>,
    places: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    /// What was asked for last: often the same again.
    last: u32,
}

impl Names {
    pub(crate) fn place(&mut self, text: &str) -> u32 {
        if self.text(self.last) == Some(text) {
            return self.last;
        }
        self.last = match self.places.get(text) {
            Some(place) => *place,
            None => {
                let place = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
                self.texts.push(text.into());
                self.places.insert(text.into(), place);
                place
            }
        };
        self.last
    }

    pub(crate) fn text(&self, place: u32) -> Option<&str> {
        self.texts.get(place as usize).map(|text| &**text)
    }

    /// For each place, how many texts stand before it in the alphabet.
    pub(crate) fn ranks(&self) -> Vec<u32> {
        let mut places: Vec<u32> = (0_u32..).zip(&self.texts).map(|(place, _)| place).collect();
        places.sort_unstable_by_key(|place| self.text(*place));
        let mut ranks = vec![0; places.len()];
        for (rank, place) in (0..).zip(places) {
            if let Some(held) = ranks.get_mut(place as usize) {
                *held = rank;
            }
        }
        ranks
    }

    pub(crate) fn into_texts(self) -> Vec<Box<str>> {
        self.texts
    }
}
