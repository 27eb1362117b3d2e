use std::ops::Range;

use bytes::Bytes;

use super::collect::Held;
use super::{Call, Form, ReadError};
use crate::dialect::{CACHE_SALT, StreamOptions};
use crate::scan::BLOCK;

/// What an endpoint changes in a body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes<'a> {
    /// Replaces the client's model unless they are equal.
    pub model: Option<&'a str>,
    /// Asks the backend for a usage chunk if [`Call::injects_usage`] allows it.
    pub inject_usage: bool,
    /// Added to a JSON body; endpoints that have one refuse callers that send their own.
    pub cache_salt: Option<&'a str>,
    /// Leaves out the block in which Claude Code counts its requests.
    pub strip_billing_header: bool,
}

/// Replaces a range with new bytes; an empty range inserts.
pub(super) struct Edit {
    place: Range<usize>,
    new: Bytes,
}

impl Edit {
    pub(super) fn new(place: Range<usize>, new: impl Into<Bytes>) -> Self {
        let new = new.into();
        Self { place, new }
    }

    /// Makes a copy of the body with this one change, which takes the body's place. Other requests run between blocks.
    pub(super) async fn apply(&self, held: &mut Held) -> Result<(), ReadError> {
        let body = &held.bytes;
        let length = body.len() - self.place.len() + self.new.len();
        if !held.reserved.grow(length as u64) {
            return Err(held.reserved.shortage());
        }
        let mut copy = Vec::with_capacity(length);
        for part in [
            &body[..self.place.start],
            &self.new,
            &body[self.place.end..],
        ] {
            for block in part.chunks(BLOCK) {
                if block.len() == BLOCK {
                    tokio::task::yield_now().await;
                }
                copy.extend_from_slice(block);
            }
        }
        held.bytes = copy.into();
        held.reserved.shrink_to(length as u64);
        Ok(())
    }
}

impl Call {
    /// The body to send, in order: slices of the client's own bytes with the changed parts between them.
    pub fn pieces(&self, changes: Changes<'_>) -> Vec<Bytes> {
        let billing = self.splices.billing_block.as_ref();
        let billing = billing.filter(|_| changes.strip_billing_header);
        let mut edits = [
            changes.model.and_then(|model| self.model_edit(model)),
            (changes.inject_usage && self.injects_usage())
                .then(|| self.usage_edit())
                .flatten(),
            changes.cache_salt.and_then(|salt| self.salt_edit(salt)),
            billing.map(|block| Edit::new(block.clone(), Bytes::new())),
        ];
        edits.sort_by_key(|edit| edit.as_ref().map(|edit| edit.place.start));
        let mut pieces = Vec::with_capacity(9);
        let mut at = 0;
        for edit in edits.into_iter().flatten() {
            pieces.push(self.body.slice(at..edit.place.start));
            pieces.push(edit.new);
            at = edit.place.end;
        }
        pieces.push(self.body.slice(at..));
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    /// Whether a usage chunk would come only because the gateway asked for it, so that it must be hidden from the
    /// client.
    pub fn injects_usage(&self) -> bool {
        self.stream
            && !self.wants_usage
            && self.form == Form::Json
            && self.api.dialect().takes_stream_options()
            && self.splices.stream_options != StreamOptions::Foreign
    }

    fn model_edit(&self, model: &str) -> Option<Edit> {
        if *self.model == *model {
            return None;
        }
        let new = match self.form {
            Form::Json => serde_json::Value::from(model).to_string(),
            Form::Multipart => model.to_owned(),
        };
        Some(Edit {
            place: self.splices.model.clone(),
            new: new.into(),
        })
    }

    fn salt_edit(&self, salt: &str) -> Option<Edit> {
        if self.form != Form::Json {
            return None;
        }
        let at = self.splices.first_member;
        let salt = serde_json::Value::from(salt);
        // The body holds a model, so something follows the comma.
        Some(Edit::new(at..at, format!("\"{CACHE_SALT}\":{salt},")))
    }

    fn usage_edit(&self) -> Option<Edit> {
        let insert = |at: usize, new: &'static str| Edit {
            place: at..at,
            new: Bytes::from_static(new.as_bytes()),
        };
        let replace = |place: &Range<usize>, new: &'static str| Edit {
            place: place.clone(),
            new: Bytes::from_static(new.as_bytes()),
        };
        Some(match &self.splices.stream_options {
            // The body has a model, so something follows the comma.
            StreamOptions::Absent { insert_at } => {
                insert(*insert_at, r#""stream_options":{"include_usage":true},"#)
            }
            StreamOptions::Null { value } => replace(value, r#"{"include_usage":true}"#),
            StreamOptions::Object {
                insert_at,
                empty: true,
            } => insert(*insert_at, r#""include_usage":true"#),
            StreamOptions::Object {
                insert_at,
                empty: false,
            } => insert(*insert_at, r#""include_usage":true,"#),
            StreamOptions::IncludeUsage { value } => replace(value, "true"),
            StreamOptions::Foreign => return None,
        })
    }
}
