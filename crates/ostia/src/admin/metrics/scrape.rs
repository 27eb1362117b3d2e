//! Writes all families.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ostia_core::Outcome;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::gauge::ConstGauge;

use super::families;
use super::family::{Family, FamilyKind, Read};
use crate::fleet::EndpointState;
use crate::gateway::Gateway;
use crate::listen::Connections;
use crate::telemetry::Reading;

/// Models of one family.
const MOST_MODELS: usize = 1_000;

pub(super) struct Scrape {
    pub(super) gateway: Arc<Gateway>,
    pub(super) public: Arc<Connections>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut endpoints = self.gateway.fleet().all();
        // A catalogue may list thousands that nobody calls.
        endpoints.retain(|endpoint| endpoint.was_used());
        endpoints.sort_by(|a, b| a.slug().cmp(b.slug()));
        for family in families() {
            self.family(&mut encoder, family, &endpoints)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn family(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        family: &Family,
        endpoints: &[Arc<EndpointState>],
    ) -> fmt::Result {
        // A family without samples is not announced.
        if endpoints.is_empty() && matches!(family.read, Read::Endpoint(_) | Read::Deployment(_)) {
            return Ok(());
        }
        let kind = match family.kind {
            FamilyKind::Counter => MetricType::Counter,
            FamilyKind::Gauge => MetricType::Gauge,
            FamilyKind::Histogram => MetricType::Histogram,
        };
        let out = encoder.encode_descriptor(family.name, family.help, None, kind)?;
        self.samples(out, family, endpoints)
    }

    fn samples(
        &self,
        mut out: MetricEncoder<'_>,
        family: &Family,
        endpoints: &[Arc<EndpointState>],
    ) -> fmt::Result {
        match family.read {
            Read::One(read) => encode(family.kind, read(self), out)?,
            Read::Endpoint(read) => {
                for state in endpoints {
                    labelled(&mut out, family, &[state.slug()], read(state))?;
                }
            }
            Read::Deployment(read) => {
                let live = self.gateway.live();
                let all = live.catalog.deployments().iter();
                // As many as have series of their own already.
                for one in all.filter(|one| one.state.was_used()) {
                    labelled(&mut out, family, &[&one.slug], read(one))?;
                }
            }
            Read::Models(read) => {
                let mut models: Vec<_> = read(self).into_iter().collect();
                models.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                for (model, count) in models.into_iter().take(MOST_MODELS) {
                    labelled(&mut out, family, &[&model], count)?;
                }
            }
            Read::Outcomes => self.outcomes(out, family, endpoints)?,
            Read::Series(read, parts) => {
                for series in self.gateway.figures().series() {
                    let reading = read(&series).read();
                    if reading.count() > 0 {
                        let labels = family.with(&series.labels());
                        distribution(&reading, parts, out.encode_family(&labels)?)?;
                    }
                }
            }
            Read::Distribution(read, parts) => distribution(&read(self).read(), parts, out)?,
            Read::Statuses => {
                for (status, count) in self.gateway.figures().statuses() {
                    labelled(&mut out, family, &[&status.to_string()], count)?;
                }
            }
            Read::Words(_, read) => {
                for (word, count) in read(self) {
                    labelled(&mut out, family, &[word], count)?;
                }
            }
        }
        Ok(())
    }

    fn outcomes(
        &self,
        mut out: MetricEncoder<'_>,
        family: &Family,
        endpoints: &[Arc<EndpointState>],
    ) -> fmt::Result {
        let unsent = self.gateway.ledger().stats().unsent;
        for (outcome, count) in Outcome::ALL.iter().zip(unsent) {
            labelled(&mut out, family, &["", outcome.as_str()], count)?;
        }
        for state in endpoints {
            for (outcome, count) in state.outcomes() {
                labelled(&mut out, family, &[state.slug(), outcome.as_str()], count)?;
            }
        }
        Ok(())
    }
}

/// One sample; `values` are those of the family's labels, in order.
fn labelled(
    out: &mut MetricEncoder<'_>,
    family: &Family,
    values: &[&str],
    value: u64,
) -> fmt::Result {
    encode(family.kind, value, out.encode_family(&family.with(values))?)
}

/// A histogram whose values are parts of its unit.
fn distribution(reading: &Reading, parts: u64, mut out: MetricEncoder<'_>) -> fmt::Result {
    let in_units = |value: u64| value as f64 / parts as f64;
    let bounds = reading.bounds.iter().map(|bound| in_units(*bound));
    let buckets: Vec<(f64, u64)> = bounds
        .chain([f64::MAX])
        .zip(reading.counts.iter().copied())
        .collect();
    let no_examples = None::<&HashMap<usize, Exemplar<NoLabelSet, f64>>>;
    out.encode_histogram(
        in_units(reading.sum),
        reading.count(),
        &buckets,
        no_examples,
    )
}

fn encode(kind: FamilyKind, value: u64, out: MetricEncoder<'_>) -> fmt::Result {
    match kind {
        FamilyKind::Counter => ConstCounter::new(value).encode(out),
        FamilyKind::Gauge | FamilyKind::Histogram => ConstGauge::new(value).encode(out),
    }
}
