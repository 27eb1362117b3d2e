use serde_json::Value;

use super::Gateway;
use crate::authorize::may_use;
use crate::identify::Principal;
use crate::listings::limits;
use crate::live::Live;

impl Gateway {
    /// The state of a caller's limits: first those that apply to all models, then those of single models.
    pub(crate) async fn limits_of(&self, live: &Live, principal: &Principal) -> Value {
        let all = live.catalog.deployments().iter();
        let usable: Vec<_> = all.filter(|one| may_use(one, principal)).cloned().collect();
        let admitter = self.admitter();
        let standings = admitter
            .standing(principal.identity(), &live.settings.limits, &usable)
            .await;
        let named: Vec<_> = standings
            .into_iter()
            .map(|(endpoint, standing)| (endpoint.map_or("", |one| &*one.model), standing))
            .collect();
        limits(&named, "model", admitter.waiting_of(&principal.user_id))
    }
}
