use async_trait::async_trait;
use http::StatusCode;
use ostia::cluster::{ClusterAdapter, ClusterContext, Job, Jobs, JobsError};

/// Fetches `config.status_url`, which answers `{"models": [{"name", "up", "note"}]}`.
pub struct CustomCluster;

#[async_trait]
impl ClusterAdapter for CustomCluster {
    async fn jobs(&self, ctx: &ClusterContext) -> Result<Jobs, JobsError> {
        let page = ctx.status_page().await?;
        if page.status != StatusCode::OK {
            return Err(JobsError::new("The site's status page is down.")
                .with_status(StatusCode::BAD_GATEWAY)
                .with_code("site_status_down"));
        }
        let page = page.json()?;
        let models = page["models"].as_array();
        let models =
            models.ok_or_else(|| JobsError::new("The site's status page has no models."))?;
        let mut jobs = Jobs::default();
        for model in models {
            let job = Job::of(model["name"].as_str()).with("Description", model["note"].clone());
            match model["up"].as_bool() {
                Some(true) => jobs.running.push(job.with("Model Status", "running")),
                _ => jobs.stopped.push(job.with("Model Status", "stopped")),
            }
        }
        ctx.log(&format!("{} models are up", jobs.running.len()));
        Ok(jobs)
    }
}
