use serde_json::Value;

use super::Jobs;
use super::mapping::Mapping;
use super::{pbs, slurm};
use crate::catalog::Scheduler;

/// Pages of schedulers, however broken: jobs or an error.
pub fn listings(data: &[u8]) {
    let scheduler = Scheduler::default();
    let mapping = Mapping::new(&scheduler, &[]);
    let _ = slurm::read(data, &mapping, 0);
    let _ = pbs::read(data, &mapping, 0, &jiff::tz::TimeZone::UTC);
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        let _ = Jobs::from_value(&value);
    }
}
