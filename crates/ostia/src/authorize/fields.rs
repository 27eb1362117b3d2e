use std::sync::Arc;

use super::Permit;
use crate::catalog::{CacheSalt, Deployment};
use crate::dialect::CACHE_SALT;
use crate::read::Call;
use crate::scan::FieldKey;

/// The body holds a field that every permitted endpoint keeps to itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field `{field}` is reserved")]
pub struct Reserved {
    pub field: &'static str,
    /// FIRST's answer to it: 422 rather than 400.
    pub as_first: bool,
}

impl Permit {
    /// The endpoints that take the fields of this body.
    pub fn taking(mut self, call: &Call) -> Result<Self, Reserved> {
        if call.reserved_fields.is_empty() {
            return Ok(self);
        }
        let mut refused = None;
        self.keep(|deployment| {
            let reserved = reserved(deployment, &call.reserved_fields);
            let takes = reserved.is_none();
            refused = refused.take().or(reserved);
            takes
        });
        match refused {
            Some(reserved) if self.deployments().is_empty() => Err(reserved),
            _ => Ok(self),
        }
    }
}

fn reserved(deployment: &Arc<Deployment>, fields: &[FieldKey]) -> Option<Reserved> {
    let isolation = &deployment.isolation;
    let salted = isolation.cache_salt != CacheSalt::Off;
    let field = fields
        .iter()
        .find(|field| isolation.reserves_fields || (salted && **field == CACHE_SALT))?;
    Some(Reserved {
        field: field.name(),
        as_first: isolation.reserves_fields,
    })
}
