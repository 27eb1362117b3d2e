use std::sync::Arc;

use super::jobs::split_names;
use crate::catalog::{Deployment, Scheduler, slugify};

/// Whether this name, from a source of jobs, stands for the deployment's model.
pub fn serves_name(deployment: &Deployment, name: &str) -> bool {
    *deployment.model == *name
        || *deployment.upstream_model == *name
        || deployment.aliases.iter().any(|alias| **alias == *name)
}

/// Which models a scheduler's job serves. The first of these that names any is used:
///
/// 1. a comment (or, for PBS, the variable `OSTIA_MODELS`) with `ostia:NAME[,NAME...]` up to the next space;
/// 2. `config.jobs`: `{"job name": "model"}` or `{"job name": ["model", ...]}`;
/// 3. the job's name without `config.job_name_prefix`, where that is a model's name, what follows its last `/`, or
///    the slug of either (with `/` left out or written as `-`), in any case.
pub(super) struct Mapping<'a> {
    scheduler: &'a Scheduler,
    deployments: &'a [Arc<Deployment>],
}

const MARK: &str = "ostia:";

impl<'a> Mapping<'a> {
    pub fn new(scheduler: &'a Scheduler, deployments: &'a [Arc<Deployment>]) -> Self {
        Self {
            scheduler,
            deployments,
        }
    }

    /// Empty: the job serves no model.
    pub fn models(&self, job_name: &str, comments: &[&str]) -> Vec<String> {
        let job_name = job_name.trim();
        let marked = comments.iter().find_map(|comment| marked(comment));
        if let Some(models) = marked {
            return models;
        }
        match self.scheduler.jobs.get(job_name) {
            Some(models) => models.clone(),
            None => self.by_name(job_name),
        }
    }

    fn by_name(&self, job_name: &str) -> Vec<String> {
        let Some(name) = job_name.strip_prefix(self.scheduler.job_name_prefix.as_str()) else {
            return Vec::new();
        };
        let name = name.to_lowercase();
        let mut models: Vec<String> = Vec::new();
        for deployment in self.deployments {
            let names = [&deployment.model, &deployment.upstream_model];
            let meant = names.iter().any(|model| is_meant(model, &name));
            if meant && !models.iter().any(|known| **known == *deployment.model) {
                models.push(deployment.model.to_string());
            }
        }
        models
    }
}

fn is_meant(model: &str, name: &str) -> bool {
    let model = model.to_lowercase();
    let last = model.rsplit('/').next().unwrap_or(&model);
    let forms = [
        model.clone(),
        last.to_owned(),
        slugify(&model),
        slugify(&model.replace('/', "-")),
        slugify(last),
    ];
    !name.is_empty() && forms.iter().any(|form| form == name)
}

fn marked(comment: &str) -> Option<Vec<String>> {
    let (_, rest) = comment.split_once(MARK)?;
    let names = rest.split(|c: char| c.is_whitespace() || c == ';').next()?;
    let names = split_names(names);
    (!names.is_empty()).then_some(names)
}
