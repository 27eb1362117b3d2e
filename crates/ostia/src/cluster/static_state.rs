use async_trait::async_trait;

use super::{ClusterAdapter, ClusterContext, Job, Jobs, JobsError};
use crate::catalog::Serving;

/// Asks no source: endpoints that are served are running, disabled ones are stopped. It also stands in for those cluster
/// adapters of FIRST that this version lacks, so that `jobs` lists the cluster's other endpoints.
pub(super) struct Static;

#[async_trait]
impl ClusterAdapter for Static {
    async fn jobs(&self, context: &ClusterContext) -> Result<Jobs, JobsError> {
        let mut jobs = Jobs::default();
        for deployment in &context.deployments {
            // The endpoint's leases know more than this adapter.
            if deployment.register.is_some() {
                continue;
            }
            let serving = deployment.serving == Serving::Yes;
            let job = Job {
                framework: Some(deployment.framework.to_string()),
                ..Job::of([&*deployment.model])
            };
            let (list, state) = if serving {
                (&mut jobs.running, "running")
            } else {
                (&mut jobs.stopped, "stopped")
            };
            let job = job.with("Model Status", state);
            if !list.contains(&job) {
                list.push(job);
            }
        }
        Ok(jobs)
    }
}
