//! Finds certain faults of a script before any of it runs.

use std::any::TypeId;
use std::collections::HashSet;

use rhai::{AST, ASTNode, Dynamic, Engine, Expr, FnCallExpr, FnPtr, FuncMetadata, Position, Stmt};

use super::fault::{ScriptError, place};

/// The type of a hook's one argument: that of a `ctx`, or `None` for a map, which may have any member.
pub type Argument = (&'static str, Option<TypeId>);

/// Names that the engine handles itself, without a function.
const KEYWORDS: [&str; 10] = [
    "Fn",
    "call",
    "curry",
    "debug",
    "eval",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "print",
    "type_of",
];

/// Calls of functions that do not exist, and of members that `ctx` does not have.
pub(super) fn faults(
    path: &str,
    ast: &AST,
    engine: &Engine,
    arguments: &[Argument],
) -> Vec<ScriptError> {
    let known = Known::of(ast, engine, arguments);
    let mut faults = Vec::new();
    let mut tell = |text: String, position: Position| {
        let mut fault = ScriptError::new(path, text);
        fault.position = place(position);
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    };
    ast.walk(&mut |nodes| {
        match nodes.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, at)) | ASTNode::Stmt(Stmt::FnCall(call, at)))
                if !known.has_function(call) =>
            {
                let text = match call.args.len() {
                    1 => format!("there is no function `{}` of one argument", call.name),
                    count => format!("there is no function `{}` of {count} arguments", call.name),
                };
                tell(text, *at);
            }
            Some(ASTNode::Expr(Expr::Dot(dot, ..))) => {
                if let Some(variable) = variable(&dot.lhs)
                    && let Some(types) = known.types_of(variable)
                    && let Some((text, at)) = known.missing(variable, &types, head(&dot.rhs))
                {
                    tell(text, at);
                }
            }
            _ => {}
        }
        true
    });
    faults
}

/// Functions that the script defines and never names again.
pub(super) fn uncalled(ast: &AST) -> Vec<String> {
    let mut named = HashSet::new();
    ast.walk(&mut |nodes| {
        match nodes.last() {
            Some(
                ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _))
                | ASTNode::Stmt(Stmt::FnCall(call, _)),
            ) => {
                named.insert(call.name.to_string());
            }
            // `Fn("name")` becomes a constant where it can.
            Some(ASTNode::Expr(Expr::DynamicConstant(value, _))) => {
                if let Some(pointer) = value.read_lock::<FnPtr>() {
                    named.insert(pointer.fn_name().to_owned());
                }
            }
            Some(ASTNode::Expr(Expr::StringConstant(text, _))) => {
                named.insert(text.to_string());
            }
            _ => {}
        }
        true
    });
    ast.iter_functions()
        .map(|function| function.name)
        .filter(|name| !name.contains('$') && !named.contains(*name))
        .map(str::to_owned)
        .collect()
}

/// Everything that a script may call.
struct Known {
    /// Of the script itself: name and arguments.
    own: HashSet<(String, usize)>,
    /// Of the engine: name, arguments, and the type of the first.
    built_in: HashSet<(String, usize, Option<TypeId>)>,
    names: HashSet<(String, usize)>,
    /// Names of the hooks' arguments with their types.
    contexts: Vec<(String, Option<TypeId>)>,
    /// Variables of the script hide them.
    variables: HashSet<String>,
}

impl Known {
    fn of(ast: &AST, engine: &Engine, arguments: &[Argument]) -> Self {
        let all = |function: &FuncMetadata| {
            let first = function.param_types.first().copied();
            (function.name.to_string(), function.num_params, first)
        };
        let built_in: HashSet<_> = engine
            .collect_fn_metadata(None, |function| Some(all(function.metadata)), true)
            .into_iter()
            .collect();
        let mut contexts = Vec::new();
        for function in ast.iter_functions() {
            let argument = arguments.iter().find(|(hook, _)| *hook == function.name);
            if let (Some((_, kind)), [name]) = (argument, function.params.as_slice()) {
                contexts.push(((*name).to_owned(), *kind));
            }
        }
        let mut variables = HashSet::new();
        ast.walk(&mut |nodes| {
            if let Some(ASTNode::Stmt(Stmt::Var(declared, ..))) = nodes.last() {
                variables.insert(declared.0.name.to_string());
            }
            true
        });
        Self {
            own: ast
                .iter_functions()
                .map(|function| (function.name.to_owned(), function.params.len()))
                .collect(),
            names: built_in
                .iter()
                .map(|(name, count, _)| (name.clone(), *count))
                .collect(),
            built_in,
            contexts,
            variables,
        }
    }

    fn has_function(&self, call: &FnCallExpr) -> bool {
        let key = (call.name.to_string(), call.args.len());
        call.is_operator_call()
            || call.is_qualified()
            || KEYWORDS.contains(&call.name.as_str())
            || self.own.contains(&key)
            || self.names.contains(&key)
    }

    /// The possible types of a variable that is only ever a hook's `ctx`.
    fn types_of(&self, variable: &str) -> Option<Vec<TypeId>> {
        if self.variables.contains(variable) {
            return None;
        }
        let kinds = self.contexts.iter().filter(|(name, _)| name == variable);
        let kinds: Option<Vec<TypeId>> = kinds.map(|(_, kind)| *kind).collect();
        kinds.filter(|kinds| !kinds.is_empty())
    }

    /// Members of `ctx` that none of its types has, and where they are used.
    fn missing(
        &self,
        variable: &str,
        types: &[TypeId],
        member: &Expr,
    ) -> Option<(String, Position)> {
        let has = |name: String, count: usize| {
            let mut firsts = types.iter().copied().chain([TypeId::of::<Dynamic>()]);
            firsts.any(|first| self.built_in.contains(&(name.clone(), count, Some(first))))
        };
        match member {
            Expr::Property(property, at) => {
                let name = &property.2;
                (!has(format!("get${name}"), 1))
                    .then(|| (format!("`{variable}` has no `{name}`"), *at))
            }
            Expr::MethodCall(call, at) => {
                let (name, count) = (call.name.to_string(), call.args.len());
                let found = KEYWORDS.contains(&name.as_str())
                    || self.own.contains(&(name.clone(), count))
                    || has(name.clone(), count + 1);
                (!found).then(|| {
                    let text = match count {
                        1 => format!("`{variable}` has no function `{name}` of one argument"),
                        _ => format!("`{variable}` has no function `{name}` of {count} arguments"),
                    };
                    (text, *at)
                })
            }
            _ => None,
        }
    }
}

fn variable(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Variable(variable, ..) => Some(variable.1.as_str()),
        _ => None,
    }
}

/// The first member of a chain `a.b.c`, whose tail is `b.c`.
fn head(expression: &Expr) -> &Expr {
    match expression {
        Expr::Dot(chain, ..) | Expr::Index(chain, ..) => head(&chain.lhs),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Program, engine};
    use super::*;

    /// A `ctx` with a property and a function.
    #[derive(Clone)]
    struct Scene;

    fn faults(text: &str) -> Vec<String> {
        let mut engine = engine();
        engine
            .register_type::<Scene>()
            .register_get("model", |_: &mut Scene| 1_i64)
            .register_fn("get", |_: &mut Scene, _: &str| 1_i64);
        let program = Program::compile("a.rhai", text).unwrap_or_else(|error| panic!("{error}"));
        let scene = Some(TypeId::of::<Scene>());
        let faults = program.faults(&engine, &[("on_request", scene), ("on_complete", None)]);
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_nowhere_is_found_with_its_place() {
        for (text, expected) in [
            (
                "fn on_request(ctx) {\n  nothing(1);\n}",
                "a.rhai:2:3: there is no function `nothing` of one argument",
            ),
            (
                "fn on_request(ctx) { let x = 1 + nothing(); }",
                "a.rhai:1:34: there is no function `nothing` of 0 arguments",
            ),
            (
                "fn on_request(ctx) { refuse(); }",
                "a.rhai:1:22: there is no function `refuse` of 0 arguments",
            ),
            (
                "fn on_request(ctx) { if false || ctx.modell == 1 {} }",
                "a.rhai:1:38: `ctx` has no `modell`",
            ),
            (
                "fn on_request(c) { c.model.foo(); c.got(\"x\"); }",
                "a.rhai:1:37: `c` has no function `got` of one argument",
            ),
            (
                "fn on_request(ctx) { ctx.get(); }",
                "a.rhai:1:26: `ctx` has no function `get` of 0 arguments",
            ),
            (
                "fn on_request(ctx) { [1].map(|x| nothing(x)); }",
                "a.rhai:1:34: there is no function `nothing` of one argument",
            ),
        ] {
            assert_eq!(faults(text), [expected], "{text}");
        }
    }

    #[test]
    fn what_may_be_right_is_let_pass() {
        for text in [
            "fn on_request(ctx) { let f = |x| x + ctx.model; f.call(1); [1, 2].map(f); help(ctx); }
             fn help(ctx) { ctx.get(\"a\").len(); print(type_of(ctx)); debug(ctx.model) }",
            "fn on_request(ctx) { ctx.twice(); } fn twice() { this.model * 2 }",
            "fn on_request(ctx) { let ctx = #{a: 1}; ctx.a; ctx.b = 2; ctx.c(); }",
            "fn on_complete(row) { print(row.outcome + row[\"status\"]); row.anything(); }",
            "fn on_request(ctx) { Fn(\"help\").call(1); for i in 0..3 { `${i}`.trim(); } } fn help(x) { x in [1] && !is_def_var(\"y\") }",
            "fn on_request(ctx) { let x = #{f: |n| n}; x.f(1); x.f.call(1); refuse(503, \"a\"); try { throw 1 } catch (e) { min(e, 2) } }",
        ] {
            assert_eq!(faults(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn functions_that_nobody_calls_are_told() {
        let text = "fn on_request(ctx) { a(1); ctx.b(); [1].map(Fn(\"c\")) } fn a(x) { |y| y } fn b() {} fn c(x) {} fn on_respons(x) {}";
        let program = Program::compile("a.rhai", text).unwrap();
        assert_eq!(program.uncalled(), ["on_respons"]);
    }
}
