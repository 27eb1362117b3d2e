use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::problem::Report;
use super::source::Source;
use super::tree::At;
use super::{dotenv, json, python};

/// No file is larger here.
const MOST: usize = 64 << 10;

fn source(data: &[u8]) -> Option<Arc<Source>> {
    let text = std::str::from_utf8(data.get(..MOST).unwrap_or(data)).ok()?;
    Some(Arc::new(Source::new(
        "fuzz".into(),
        PathBuf::new(),
        text.to_owned(),
    )))
}

/// Everything that serde_json reads is read, with the same value. A fault has a place in the file.
pub fn fixtures(data: &[u8]) {
    let Some(source) = source(data) else { return };
    let plain = serde_json::from_str::<Value>(&source.text);
    match json::parse(&source.text, &At::whole(Arc::clone(&source))) {
        Ok(node) => {
            node.depth();
            node.to_value();
        }
        Err(fault) => {
            assert!(fault.at <= source.text.len());
            source.place(fault.at);
            let is_deep = fault.text.contains("nested");
            assert!(plain.is_err() || is_deep, "{}: {}", source.text, fault.text);
        }
    }
}

/// Nothing is evaluated, nothing overflows.
pub fn python_literals(data: &[u8]) {
    let Some(source) = source(data) else { return };
    match python::parse(&source.text, &At::whole(Arc::clone(&source))) {
        Ok(node) => assert!(node.depth() <= python::MAX_DEPTH),
        Err(fault) => assert!(fault.at <= source.text.len()),
    }
}

pub fn dotenv_files(data: &[u8]) {
    let Some(source) = source(data) else { return };
    let (report, mut variables) = (Report::default(), BTreeMap::new());
    dotenv::read(&source, &mut variables, &report);
    for problem in report.into_problems() {
        assert!(!problem.to_string().contains(char::is_control));
    }
}
