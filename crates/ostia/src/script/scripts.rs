use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Program, ScriptError};

/// The scripts of one reading of the files: each is read and compiled once.
#[derive(Default)]
pub struct Scripts {
    loaded: Mutex<HashMap<String, Result<Arc<Program>, ScriptError>>>,
}

impl Scripts {
    pub fn load(&self, path: &str) -> Result<Arc<Program>, ScriptError> {
        let mut loaded = self.loaded.lock();
        if let Some(known) = loaded.get(path) {
            return known.clone();
        }
        let program = read(path).map(Arc::new);
        loaded.insert(path.to_owned(), program.clone());
        program
    }
}

fn read(path: &str) -> Result<Program, ScriptError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ScriptError::new(path, format!("cannot be read: {error}")))?;
    Program::compile(path, &text)
}
