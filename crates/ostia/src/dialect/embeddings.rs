//! `embeddings`.

use super::facts::{COMMON, Facts, prompts};
use super::{Answers, Dialect, Invalid, Service};
use crate::scan::{Fields, Key, Keys};

#[derive(Debug)]
pub(super) struct Embeddings;

const INPUT: Key = Key::prompt("input");
const MESSAGES: Key = Key::prompt("messages");

static SERVICES: [Service; 1] = [Service::new("embeddings", Answers::Object)];
static KEYS: Keys = Keys::of(&[COMMON, &[INPUT, MESSAGES]]);

impl Dialect for Embeddings {
    fn services(&self) -> &'static [Service] {
        &SERVICES
    }

    fn keys(&self) -> &'static Keys {
        &KEYS
    }

    fn read(&self, fields: &Fields<'_>, _facts: &mut Facts) -> Result<(), Invalid> {
        if prompts(fields, INPUT)?.is_none() && fields.given(MESSAGES).is_none() {
            return Err(Invalid::missing(INPUT));
        }
        Ok(())
    }
}
