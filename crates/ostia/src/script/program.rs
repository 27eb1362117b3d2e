use std::sync::Arc;

use rhai::{AST, CallFnOptions, Dynamic, Engine, FuncArgs, Scope};

use super::fault::{ScriptError, Thrown};
use super::lint::{self, Argument};

/// The functions that a script may have for the gateway to call, and how many arguments each takes.
pub const HOOKS: [(&str, usize); 5] = [
    ("on_request", 1),
    ("on_stream_request", 1),
    ("on_response", 1),
    ("on_complete", 1),
    ("jobs", 1),
];

/// A compiled script.
#[derive(Debug)]
pub struct Program {
    path: Arc<str>,
    ast: AST,
    hooks: Vec<&'static str>,
}

impl Program {
    /// Compiles without running anything. A script without any hook is refused: it would do nothing.
    pub fn compile(path: &str, text: &str) -> Result<Self, ScriptError> {
        let mut engine = super::engine();
        // An undefined variable is an error at compile time, not only when it is reached.
        engine.set_strict_variables(true);
        let mut ast = engine
            .compile(text.strip_prefix('\u{feff}').unwrap_or(text))
            .map_err(|error| ScriptError::of_parse(path, &error))?;
        ast.set_source(path);
        let mut hooks = Vec::new();
        for function in ast.iter_functions() {
            let Some((name, arguments)) = HOOKS.iter().find(|(name, _)| *name == function.name)
            else {
                continue;
            };
            if function.params.len() != *arguments {
                let text = format!("`{name}` must take {arguments} argument: `fn {name}(ctx)`");
                return Err(ScriptError::new(path, text));
            }
            hooks.push(*name);
        }
        if hooks.is_empty() {
            let known: Vec<_> = HOOKS.iter().map(|(name, _)| *name).collect();
            let mut text = format!("has none of the functions {}", known.join(", "));
            if let Some((name, meant)) = misspelt(&ast) {
                text.push_str(&format!("; did you mean `{meant}` by `{name}`?"));
            }
            return Err(ScriptError::new(path, text));
        }
        Ok(Self {
            path: path.into(),
            ast,
            hooks,
        })
    }

    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub fn has(&self, hook: &str) -> bool {
        self.hooks.contains(&hook)
    }

    /// Its certain faults when `engine` runs it and its hooks get these arguments.
    pub fn faults(&self, engine: &Engine, arguments: &[Argument]) -> Vec<ScriptError> {
        lint::faults(&self.path, &self.ast, engine, arguments)
    }

    /// Functions that are defined but are neither hooks nor called.
    pub fn uncalled(&self) -> Vec<String> {
        let mut names = lint::uncalled(&self.ast);
        names.retain(|name| !self.has(name));
        names
    }

    /// Calls a function on this thread. For hooks use [`super::on_pool`] around it.
    pub fn call(
        &self,
        engine: &Engine,
        hook: &str,
        arguments: impl FuncArgs,
    ) -> Result<Dynamic, Thrown> {
        let options = CallFnOptions::new().eval_ast(true).rewind_scope(true);
        engine
            .call_fn_with_options::<Dynamic>(options, &mut Scope::new(), &self.ast, hook, arguments)
            .map_err(|error| Thrown::of(&self.path, hook, *error))
    }
}

/// A function whose name is nearly a hook's, and that hook.
fn misspelt(ast: &AST) -> Option<(&str, &'static str)> {
    let bare = |name: &str| name.to_lowercase().replace('_', "");
    ast.iter_functions().find_map(|function| {
        let name = bare(function.name);
        let mut hooks = HOOKS.iter().map(|(hook, _)| *hook);
        let meant = hooks.find(|hook| strsim::osa_distance(&name, &bare(hook)) <= 2)?;
        Some((function.name, meant))
    })
}

#[cfg(test)]
mod tests;
