//! One metric, and how its numbers are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::scrape::Scrape;
use crate::catalog::Deployment;
use crate::fleet::EndpointState;
use crate::telemetry::{Histogram, Series};

/// One metric: what a scrape says of it, and where its numbers are.
#[derive(Debug)]
pub struct Family {
    /// Without the prefix `ostia_`, and without the `_total` of a counter.
    pub(super) name: &'static str,
    pub kind: FamilyKind,
    /// The HELP line.
    pub help: &'static str,
    pub(super) read: Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// Grows only; starts anew with the process.
    Counter,
    Gauge,
    /// How often values fell into which buckets; starts anew with the process.
    Histogram,
}

#[derive(Debug)]
pub(super) enum Read {
    /// One number.
    One(fn(&Scrape) -> u64),
    /// One number an endpoint.
    Endpoint(fn(&EndpointState) -> u64),
    /// One number an endpoint that is in the catalogue.
    Deployment(fn(&Deployment) -> u64),
    /// One number a model.
    Models(fn(&Scrape) -> BTreeMap<Arc<str>, u64>),
    /// One number an endpoint and outcome.
    Outcomes,
    /// One histogram a combination of labels, in this many parts of its unit.
    Series(fn(&Series) -> &Histogram, u64),
    /// One histogram.
    Distribution(fn(&Scrape) -> &Histogram, u64),
    /// One number an HTTP status.
    Statuses,
    /// One number a word of this label.
    Words([&'static str; 1], fn(&Scrape) -> Words),
}

pub(super) type Words = Vec<(&'static str, u64)>;

pub(super) const PREFIX: &str = "ostia";

impl Family {
    /// As a scrape shows it.
    pub fn full_name(&self) -> String {
        let ending = match self.kind {
            FamilyKind::Counter => "_total",
            FamilyKind::Gauge | FamilyKind::Histogram => "",
        };
        format!("{PREFIX}_{}{ending}", self.name)
    }

    /// The family's labels with these values.
    pub(super) fn with<'a>(&self, values: &[&'a str]) -> Vec<(&'static str, &'a str)> {
        let names = self.labels().iter().copied();
        names.zip(values.iter().copied()).collect()
    }

    pub const fn labels(&self) -> &[&'static str] {
        match &self.read {
            Read::One(_) | Read::Distribution(..) => &[],
            Read::Series(..) => &["model", "cluster", "api", "outcome"],
            Read::Statuses => &["status"],
            Read::Endpoint(_) | Read::Deployment(_) => &["endpoint"],
            Read::Models(_) => &["model"],
            Read::Outcomes => &["endpoint", "outcome"],
            Read::Words(label, _) => label,
        }
    }
}

/// Counters with one label of few words.
pub(super) const fn words(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: fn(&Scrape) -> Words,
) -> Family {
    Family {
        name,
        kind: FamilyKind::Counter,
        help,
        read: Read::Words([label], read),
    }
}

pub(super) const fn series(
    name: &'static str,
    help: &'static str,
    read: fn(&Series) -> &Histogram,
    parts: u64,
) -> Family {
    Family {
        name,
        kind: FamilyKind::Histogram,
        help,
        read: Read::Series(read, parts),
    }
}

pub(super) const fn one(
    kind: FamilyKind,
    name: &'static str,
    help: &'static str,
    read: fn(&Scrape) -> u64,
) -> Family {
    Family {
        name,
        kind,
        help,
        read: Read::One(read),
    }
}

pub(super) const fn endpoint(
    kind: FamilyKind,
    name: &'static str,
    help: &'static str,
    read: fn(&EndpointState) -> u64,
) -> Family {
    Family {
        name,
        kind,
        help,
        read: Read::Endpoint(read),
    }
}
