use std::sync::Arc;
use std::time::Duration;

use super::command::run;
use crate::catalog::Deployment;
use crate::fleet::ModelState;
use crate::runtime::spawn;

/// The least time between two starts for one endpoint: the job has to wait for nodes, and the engine has to load.
const PAUSE: Duration = Duration::from_secs(10 * 60);
/// How long the operators' command may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a job for an endpoint that a request asks for, by the operators' command if they configured one. Does nothing
/// if a job was started lately, or if a lease or the scheduler shows that one exists.
pub fn start_on_demand(deployment: &Arc<Deployment>) {
    let scheduler = &deployment.cluster.scheduler;
    if deployment.leased_state() != Some(ModelState::Stopped) {
        return;
    }
    let Some(command) = scheduler.starting(&deployment.slug, &deployment.model) else {
        return;
    };
    if !deployment.state.may_start(PAUSE) {
        return;
    }
    let slug = Arc::clone(&deployment.slug);
    spawn(async move {
        match run(&command, PATIENCE).await {
            Ok(said) => {
                let said = String::from_utf8_lossy(&said);
                tracing::info!(endpoint = &*slug, said = said.trim(), "a job was started");
            }
            Err(error) => {
                tracing::error!(endpoint = &*slug, %error, detail = &*error.detail, "no job could be started");
            }
        }
    });
}
