//! `embeddings`.

use super::facts::{COMMON, OPTIONS, RequestFacts, prompts};
use super::{Answers, Dialect, Invalid, Service};
use crate::scan::{FieldKey, Fields, Keys};

#[derive(Debug)]
pub(super) struct Embeddings;

const INPUT: FieldKey = FieldKey::prompt("input");
const MESSAGES: FieldKey = FieldKey::prompt("messages");

static SERVICES: [Service; 1] = [Service::new("embeddings", Answers::Object)];
static KEYS: Keys = Keys::of(&[COMMON, OPTIONS, &[INPUT, MESSAGES]]);

impl Dialect for Embeddings {
    fn services(&self) -> &'static [Service] {
        &SERVICES
    }

    fn keys(&self) -> &'static Keys {
        &KEYS
    }

    fn read(&self, fields: &Fields<'_>, _facts: &mut RequestFacts) -> Result<(), Invalid> {
        if prompts(fields, INPUT)?.is_none() && fields.given(MESSAGES).is_none() {
            return Err(Invalid::missing(INPUT));
        }
        Ok(())
    }
}
