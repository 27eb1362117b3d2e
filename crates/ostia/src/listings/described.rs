use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::state::best_state;
use crate::authorize::NoticeLookup;
use crate::catalog::Deployment;
use crate::fleet::ModelState;

/// What lists say of a model, whichever of its deployments will answer.
pub(super) struct Described {
    pub name: Arc<str>,
    pub display_name: Box<str>,
    pub owner: Arc<str>,
    pub state: ModelState,
    /// What all deployments take.
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub input_modalities: Vec<Box<str>>,
    pub tool_calling: Option<bool>,
    pub reasoning: Option<bool>,
    apis: BTreeSet<Box<str>>,
}

impl Described {
    /// `deployments`: those that the caller may use; at least one.
    pub fn of(
        name: &Arc<str>,
        deployments: &[&Arc<Deployment>],
        notices: &impl NoticeLookup,
    ) -> Option<Self> {
        let first = deployments.first()?;
        let all = || deployments.iter().map(|one| &one.profile);
        let windows = deployments.iter().filter_map(|one| {
            let said = one.profile.context_window;
            said.or_else(|| one.state.engine().context_window())
        });
        let display_name = all().find_map(|one| one.display_name.clone());
        let modalities = all().find(|one| !one.input_modalities.is_empty());
        Some(Self {
            name: Arc::clone(name),
            display_name: display_name.unwrap_or_else(|| (&**name).into()),
            owner: Arc::clone(&first.cluster.name),
            state: best_state(deployments, notices),
            context_window: windows.min(),
            max_output_tokens: all().filter_map(|one| one.max_output_tokens).min(),
            input_modalities: modalities.map_or_else(Vec::new, |one| one.input_modalities.clone()),
            tool_calling: all().find_map(|one| one.tool_calling),
            reasoning: all().find_map(|one| one.reasoning),
            apis: deployments
                .iter()
                .flat_map(|one| one.cluster.openai_endpoints.iter().cloned())
                .collect(),
        })
    }

    /// Adds what is known, without touching what is there. `max_model_len` is vLLM's word, which some clients read;
    /// `capabilities` are as ALCF's tools read them.
    pub fn add_to(&self, entry: &mut Map<String, Value>) {
        let apis: Vec<String> = self.apis.iter().map(|api| api.replace('/', "_")).collect();
        let mut capabilities = json!({ "api_protocols": apis });
        let known = [
            (
                "context_window_tokens",
                self.context_window.map(Value::from),
            ),
            ("max_output_tokens", self.max_output_tokens.map(Value::from)),
            ("input_modalities", self.modalities()),
            ("tool_calling", self.tool_calling.map(supported)),
            ("reasoning", self.reasoning.map(supported)),
        ];
        for (key, value) in known {
            if let Some(value) = value {
                capabilities[key] = value;
            }
        }
        let members = [
            ("display_name", Some(Value::from(&*self.display_name))),
            ("context_window", self.context_window.map(Value::from)),
            ("max_model_len", self.context_window.map(Value::from)),
            ("max_output_tokens", self.max_output_tokens.map(Value::from)),
            ("input_modalities", self.modalities()),
            ("capabilities", Some(capabilities)),
        ];
        for (key, value) in members {
            if let Some(value) = value {
                entry.entry(key).or_insert(value);
            }
        }
    }

    /// The same for a list that sites have had for long: where nothing is known beyond the name, it stays as it was.
    pub fn add_known_to(&self, entry: &mut Map<String, Value>) {
        let is_known = *self.display_name != *self.name
            || self.context_window.is_some()
            || self.max_output_tokens.is_some()
            || self.tool_calling.is_some()
            || self.reasoning.is_some()
            || !self.input_modalities.is_empty();
        if is_known {
            self.add_to(entry);
        }
    }

    pub const fn apis(&self) -> &BTreeSet<Box<str>> {
        &self.apis
    }

    fn modalities(&self) -> Option<Value> {
        (!self.input_modalities.is_empty()).then(|| json!(self.input_modalities))
    }
}

fn supported(supported: bool) -> Value {
    json!({ "supported": supported })
}
