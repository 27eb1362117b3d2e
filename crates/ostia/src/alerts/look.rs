use std::collections::BTreeMap;

use super::{Severity, Trouble};
use crate::authorize::NoticeLookup as _;
use crate::catalog::{Deployment, Serving};
use crate::fleet::ModelState;
use crate::gateway::Gateway;
use crate::live::Live;

/// What is wrong with endpoints and models. What is under maintenance is left out.
pub(super) fn endpoints(live: &Live) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    // Of each model: how many endpoints there are, and how many are down.
    let mut models: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let deployments = live.catalog.deployments().iter();
    let open = deployments.filter(|one| {
        one.serving == Serving::Yes
            && one.framework_listed()
            && live.notices.notice(&one.cluster.name).is_none()
            && live.notices.model_notice(&one.model).is_none()
    });
    for deployment in open {
        let model = models.entry(&deployment.model).or_default();
        model.0 += 1;
        let Some(why) = down(deployment) else {
            continue;
        };
        model.1 += 1;
        troubles.push(Trouble {
            name: "endpoint_down",
            subject: deployment.slug.to_string(),
            severity: Severity::Warning,
            summary: format!(
                "The endpoint {} of {} {why}.",
                deployment.slug, deployment.model
            ),
        });
    }
    for (model, (all, down)) in models {
        if all == down {
            troubles.push(Trouble {
                name: "model_unserved",
                subject: model.to_owned(),
                severity: Severity::Critical,
                summary: format!("No endpoint of {model} takes requests; it has {all}."),
            });
        }
    }
    troubles
}

/// Why an endpoint counts as down.
fn down(deployment: &Deployment) -> Option<&'static str> {
    let state = &deployment.state;
    if state.is_unreachable() {
        Some("cannot be reached")
    } else if state.is_suspect() {
        Some("fails")
    } else if deployment.is_watched() && state.readiness() == ModelState::Stopped {
        Some("does not pass its health check")
    } else {
        None
    }
}

/// Problems of the gateway itself.
pub(super) fn gateway(gateway: &Gateway, live: &Live) -> Vec<Trouble> {
    let stats = gateway.ledger().stats();
    let critical = |name, is_so: bool, summary: String| {
        is_so.then_some(Trouble {
            name,
            subject: String::new(),
            severity: Severity::Critical,
            summary,
        })
    };
    let warning = |name, subject: String, summary: String| Trouble {
        name,
        subject,
        severity: Severity::Warning,
        summary,
    };
    let waited = gateway.admitter().take_longest_wait();
    let patience = live.settings.limits.queue_timeout;
    let waits = !patience.is_zero() && waited > patience / 2;
    let duties = gateway.duties().report().into_iter();
    let own = [
        critical(
            "store_down",
            stats.store_down || !gateway.store_reached(),
            "The database does not answer; rows wait in the journal.".to_owned(),
        ),
        critical(
            "journal_down",
            stats.journal_down,
            "The journal cannot be written: no request is let in.".to_owned(),
        ),
        waits.then(|| {
            let text = format!("A request waited {} s for its turn.", waited.as_secs());
            warning("queue_wait", String::new(), text)
        }),
        gateway.admitter().is_degraded().then(|| {
            let text = "Shared limits do not answer: each process holds its part of them.";
            warning("limiter_down", String::new(), text.to_owned())
        }),
        gateway.reloads().fault().map(|fault| {
            let text = format!("The files as they are now are not served: {fault}");
            warning("reload_refused", String::new(), text)
        }),
    ];
    let failing = duties.filter(|duty| duty.failing).map(|duty| {
        let text = format!(
            "Background work panicked {} times: {}.",
            duty.panics, duty.name
        );
        warning("background_work", duty.name.to_owned(), text)
    });
    own.into_iter().flatten().chain(failing).collect()
}
