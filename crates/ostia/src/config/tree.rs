//! The tree into which all files are read: values that know their places. `toml_file`, `json` and `python` build it;
//! `reader` turns it into typed values.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Number, Value as Plain};

use super::problem::Place;
use super::source::Source;

/// A place: a byte of a source, or the source as a whole. Line and column are counted when needed.
#[derive(Clone)]
pub(super) struct At {
    pub source: Arc<Source>,
    offset: Option<u32>,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub at: At,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Member>),
    /// TOML's dates, and numbers that no key takes.
    Odd,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub key: String,
    pub key_at: At,
    pub node: Node,
}

/// Why a text cannot be parsed, and the byte offset of the fault.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub at: usize,
    pub text: String,
}

impl At {
    pub const fn whole(source: Arc<Source>) -> Self {
        Self {
            source,
            offset: None,
        }
    }

    /// A byte of the source. What stands in a text of a source stands, with all its parts, where that text does.
    pub fn inside(&self, offset: usize) -> Self {
        let offset = self.offset.or_else(|| u32::try_from(offset).ok());
        Self {
            source: Arc::clone(&self.source),
            offset,
        }
    }

    pub fn place(&self) -> Place {
        match self.offset {
            Some(offset) => self.source.place(offset as usize),
            None => Place::whole(&self.source.name),
        }
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.place(), f)
    }
}

impl Node {
    pub const fn new(at: At, value: Value) -> Self {
        Self { at, value }
    }

    /// The value without places. Of a repeated key the last value is used, as in Python.
    pub fn to_value(&self) -> Plain {
        match &self.value {
            Value::Null | Value::Odd => Plain::Null,
            Value::Bool(flag) => Plain::Bool(*flag),
            Value::Number(number) => Plain::Number(number.clone()),
            Value::Text(text) => Plain::String(text.clone()),
            Value::List(items) => items.iter().map(Self::to_value).collect(),
            Value::Map(members) => {
                let members = members.iter();
                let members = members.map(|member| (member.key.clone(), member.node.to_value()));
                Plain::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    /// How deep lists and maps are nested.
    pub fn depth(&self) -> usize {
        match &self.value {
            Value::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Map(members) => {
                let depths = members.iter().map(|member| member.node.depth());
                1 + depths.max().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// In the words of the file.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(number) if number.is_f64() => "a number with a point",
            Value::Number(_) => "a whole number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) if self.at.source.is_settings => "a section",
            Value::Map(_) => "an object",
            Value::Odd => "a date, or a number beyond 64 bits",
        }
    }
}
