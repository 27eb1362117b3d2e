use std::time::Duration;

use ostia_core::{Clock, SystemClock};

use super::*;
use crate::script::{engine, on_pool};

fn call(text: &str) -> Result<Dynamic, Thrown> {
    let text = format!("fn on_request(ctx) {{ {text} }}");
    Program::compile("a.rhai", &text)
        .unwrap()
        .call(&engine(), "on_request", (1_i64,))
}

fn fault(text: &str) -> ScriptError {
    match call(text) {
        Err(Thrown::Fault(error)) => error,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn mistakes_are_told_with_file_and_line() {
    let broken = Program::compile("adapters/a.rhai", "fn on_request(ctx) {\n  let = 3;\n}");
    let error = broken.unwrap_err().to_string();
    assert!(error.starts_with("adapters/a.rhai:2:7: "), "{error}");

    let program = Program::compile(
        "adapters/a.rhai",
        "fn deep(x) {\n  x.nothing_of_the_kind()\n}\nfn on_request(ctx) {\n  deep(ctx)\n}",
    );
    let thrown = program
        .unwrap()
        .call(&engine(), "on_request", (1_i64,))
        .unwrap_err();
    let Thrown::Fault(error) = thrown else {
        panic!("{thrown:?}");
    };
    assert!(
        error.to_string().starts_with("adapters/a.rhai:2:"),
        "{error}"
    );
}

#[test]
fn a_script_must_have_a_hook_that_takes_what_it_is_given() {
    assert!(Program::compile("a.rhai", "fn other(ctx) {}").is_err());
    assert!(Program::compile("a.rhai", "fn on_request() {}").is_err());
    assert!(Program::compile("a.rhai", "fn jobs(ctx) { #{} }").is_ok());
}

#[test]
fn loops_bombs_and_depths_end() {
    for text in [
        "loop {}",
        "let x = \"a\"; loop { x += x; }",
        "let x = []; loop { x.push(x); }",
        "let x = []; x.pad(1000000000, 1);",
        "let x = \"\"; x.pad(1000000000, \"x\");",
        "let x = #{}; let n = 0; loop { x[n.to_string()] = x; n += 1; }",
        "let x = blob(4000000000, 1);",
        // Every letter by 100,000 others, within one operation.
        "let x = \"\"; x.pad(100000, \"x\"); let y = x; x.replace(\"x\", y);",
        "let x = \"\"; x.pad(100000, \"x\"); let y = x; x.replace('x', y);",
        "sleep(1000000)",
        "sleep(1e6)",
    ] {
        fault(text);
    }
    let recursive = Program::compile("a.rhai", "fn on_request(ctx) { on_request(ctx) }").unwrap();
    assert!(recursive.call(&engine(), "on_request", (1_i64,)).is_err());
}

#[tokio::test]
async fn what_grows_beside_its_values_ends_too() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for text in [
        // Values that no variable holds yet.
        "let s = \"\"; s.pad(4000000, \"x\"); let a = []; a.pad(90000, 0); a.map(|x| { let q = s; q.pop(); q + \"y\" })",
        // Closures within closures: dropping them takes a stack as deep as they are.
        "let f = |x| x; loop { let g = f; f = |y| g.call(y); }",
        "let x = []; loop { x = [take(x)]; }",
        "let x = #{}; loop { x = #{a: take(x)}; }",
    ] {
        let whole = format!("fn on_request(ctx) {{ {text} }}");
        let program = Program::compile("a.rhai", &whole).unwrap();
        let ran = on_pool(&clock, Duration::from_secs(3), move || {
            program.call(&engine(), "on_request", (1_i64,)).map(drop)
        });
        assert!(matches!(ran.await, Some(Err(Thrown::Fault(_)))), "{text}");
    }
    let doubles = "fn on_request(ctx) { let f = |x| x; loop { f = f.curry(f); } }";
    assert!(Program::compile("a.rhai", doubles).is_err());
}

#[tokio::test]
async fn the_fault_says_what_was_too_much() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let program = Program::compile("a.rhai", "fn on_request(ctx) { loop {} }").unwrap();
    let ran = on_pool(&clock, Duration::ZERO, move || {
        program.call(&engine(), "on_request", (1_i64,)).map(drop)
    });
    // No time at all may also mean: no thread in time.
    if let Some(Err(Thrown::Fault(error))) = ran.await {
        assert!(error.to_string().contains("it took too long"), "{error}");
    }
}

#[test]
fn texts_are_replaced_as_ever() {
    let text = "let x = \"h\u{e9}llo\"; x.replace(\"l\", \"LL\"); x.replace('o', \"\"); x.replace(\"h\", 'j'); x";
    assert_eq!(call(text).unwrap().into_string().unwrap(), "j\u{e9}LLLL");
}

#[test]
fn there_are_no_files_no_modules_and_no_eval() {
    for text in [
        "eval(\"1\")",
        "import \"os\" as os;",
        "open_file(\"/etc/passwd\")",
        "let f = Fn(\"eval\"); f.call(\"1\")",
    ] {
        let whole = format!("fn on_request(ctx) {{ {text} }}");
        let Ok(program) = Program::compile("a.rhai", &whole) else {
            continue;
        };
        let ran = program.call(&engine(), "on_request", (1_i64,));
        assert!(ran.is_err(), "{text}: {ran:?}");
    }
}

#[test]
fn a_refusal_keeps_its_words() {
    let refusal = |status, code: &str| Thrown::Refusal {
        status,
        message: "not now".to_owned(),
        code: code.to_owned(),
    };
    assert_eq!(
        call("refuse(503, \"not now\", \"not_live\")").unwrap_err(),
        refusal(503, "not_live")
    );
    assert_eq!(
        call("refuse(-1, \"not now\")").unwrap_err(),
        refusal(500, "adapter_refused")
    );
    // Thrown from within a function too.
    let program = Program::compile(
        "a.rhai",
        "fn judge() { refuse(503, \"not now\", \"not_live\") } fn on_request(ctx) { judge() }",
    );
    let thrown = program.unwrap().call(&engine(), "on_request", (1_i64,));
    assert_eq!(thrown.unwrap_err(), refusal(503, "not_live"));
}

#[test]
fn constants_of_the_file_are_there() {
    let program = Program::compile(
        "a.rhai",
        "const LIMIT = 7; fn on_request(ctx) { global::LIMIT + ctx }",
    );
    let value = program.unwrap().call(&engine(), "on_request", (1_i64,));
    assert_eq!(value.unwrap().as_int().unwrap(), 8);
}
