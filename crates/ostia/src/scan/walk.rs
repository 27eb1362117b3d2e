use super::fields::JsonKind;
use super::lexeme::{RawString, Scanner};
use super::{MAX_DEPTH, ScanError, ScanErrorKind};

/// Watches a walk over a value. `depth` is the number of containers open inside that value: 0 for the value itself.
pub(super) trait Observe {
    fn key(&mut self, _depth: usize, _key: RawString<'_>) {}

    /// Called for each value before its content. `raw` is the whole token, or only the opening bracket of a container.
    fn value(&mut self, _depth: usize, _kind: JsonKind, _at: usize, _raw: &[u8]) {}

    /// Called when a container has ended. `end` is the position after its closing bracket, `depth` the container's own.
    fn closed(&mut self, _depth: usize, _end: usize) {}
}

/// Watches nothing.
impl Observe for () {}

/// Which of the open containers are objects, one bit each. There is no recursion, so no body can exhaust the stack.
#[derive(Default)]
struct Nest {
    objects: [u64; MAX_DEPTH / 64],
    depth: usize,
}

/// A walk over one value, which may stop at the end of any block.
struct Walk {
    nest: Nest,
    next: Next,
    outermost: Option<JsonKind>,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// The first element of the array that starts there, or its end.
    FirstElement(usize),
    /// The first key, or the object's end.
    FirstKey,
    Key,
    Colon,
    /// After a value.
    CommaOrEnd,
}

impl Scanner<'_> {
    /// Walks one member value of the body's object to its end, and pauses after each block.
    pub(super) async fn value(
        &mut self,
        observer: &mut impl Observe,
    ) -> Result<JsonKind, ScanError> {
        let mut walk = Walk {
            nest: Nest::default(),
            next: Next::Value,
            outermost: None,
        };
        loop {
            match self.walk(&mut walk, observer)? {
                Some(kind) => return Ok(kind),
                None => self.pause().await?,
            }
        }
    }

    /// Goes on until the value ends; `None` if the block ends first. The steps of a member stand in the order in which
    /// they come, so that one round of the loop reads it whole.
    fn walk(
        &mut self,
        walk: &mut Walk,
        observer: &mut impl Observe,
    ) -> Result<Option<JsonKind>, ScanError> {
        if !self.is_in_string() && !self.space() {
            return Ok(None);
        }
        loop {
            match walk.next {
                Next::FirstElement(start) => walk.next = self.first_element(start, walk, observer),
                Next::FirstKey if self.peek() == Some(b'}') => walk.next = Next::CommaOrEnd,
                Next::FirstKey => walk.next = Next::Key,
                _ => {}
            }
            if walk.next == Next::Key {
                let Some(key) = self.string("a key in double quotes")? else {
                    return Ok(None);
                };
                observer.key(walk.nest.depth, key);
                walk.next = Next::Colon;
                if !self.space() {
                    return Ok(None);
                }
            }
            if walk.next == Next::Colon {
                if !self.eat(b':') {
                    return Err(self.fault(ScanErrorKind::Expected("':'")));
                }
                walk.next = Next::Value;
                if !self.space() {
                    return Ok(None);
                }
            }
            if walk.next == Next::Value {
                let Some(next) = self.begin(walk, observer)? else {
                    return Ok(None);
                };
                walk.next = next;
                if walk.nest.depth == 0 {
                    return Ok(walk.outermost);
                }
                if !self.space() {
                    return Ok(None);
                }
            }
            if walk.next == Next::CommaOrEnd {
                walk.next = self.end_or_go_on(walk, observer)?;
                if walk.nest.depth == 0 {
                    return Ok(walk.outermost);
                }
                if !self.space() {
                    return Ok(None);
                }
            }
        }
    }

    /// Reads a scalar or an opening bracket.
    fn begin(
        &mut self,
        walk: &mut Walk,
        observer: &mut impl Observe,
    ) -> Result<Option<Next>, ScanError> {
        let start = self.at;
        let kind = match self.peek() {
            _ if self.is_in_string() => return self.text(walk, observer),
            Some(b'"') => return self.text(walk, observer),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal("true", JsonKind::True)?,
            Some(b'f') => self.literal("false", JsonKind::False)?,
            Some(b'n') => self.literal("null", JsonKind::Null)?,
            Some(bracket @ (b'{' | b'[')) => {
                if !walk.nest.push(bracket == b'{') {
                    return Err(self.fault(ScanErrorKind::TooDeep));
                }
                self.at += 1;
                if bracket == b'[' {
                    return Ok(Some(Next::FirstElement(start)));
                }
                let raw = &self.body[start..self.at];
                walk.outermost.get_or_insert(JsonKind::Object);
                observer.value(walk.nest.depth - 1, JsonKind::Object, start, raw);
                return Ok(Some(Next::FirstKey));
            }
            _ => return Err(self.fault(ScanErrorKind::Expected("a value"))),
        };
        walk.outermost.get_or_insert(kind);
        observer.value(walk.nest.depth, kind, start, &self.body[start..self.at]);
        Ok(Some(Next::CommaOrEnd))
    }

    fn text(
        &mut self,
        walk: &mut Walk,
        observer: &mut impl Observe,
    ) -> Result<Option<Next>, ScanError> {
        let Some(text) = self.string("a value")? else {
            return Ok(None);
        };
        let start = self.at - text.inner.len() - 2;
        let raw = &self.body[start..self.at];
        walk.outermost.get_or_insert(JsonKind::String);
        observer.value(walk.nest.depth, JsonKind::String, start, raw);
        Ok(Some(Next::CommaOrEnd))
    }

    /// An array has begun; now it shows whether it is empty.
    fn first_element(
        &mut self,
        start: usize,
        walk: &mut Walk,
        observer: &mut impl Observe,
    ) -> Next {
        let (kind, next) = match self.peek() {
            Some(b']') => (JsonKind::EmptyArray, Next::CommaOrEnd),
            _ => (JsonKind::Array, Next::Value),
        };
        walk.outermost.get_or_insert(kind);
        let raw = &self.body[start..=start];
        observer.value(walk.nest.depth - 1, kind, start, raw);
        next
    }

    /// After a value: closes the container if it ends here, else moves to its next value.
    fn end_or_go_on(
        &mut self,
        walk: &mut Walk,
        observer: &mut impl Observe,
    ) -> Result<Next, ScanError> {
        let nest = &mut walk.nest;
        if self.eat(nest.closing_bracket()) {
            nest.depth -= 1;
            observer.closed(nest.depth, self.at);
            return Ok(Next::CommaOrEnd);
        }
        if !self.eat(b',') {
            return Err(self.fault(ScanErrorKind::Expected(nest.expected())));
        }
        match nest.in_object() {
            true => Ok(Next::Key),
            false => Ok(Next::Value),
        }
    }
}

impl Nest {
    /// `false` if that is one too many; the body's own object counts as open.
    fn push(&mut self, object: bool) -> bool {
        if self.depth + 1 >= MAX_DEPTH {
            return false;
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
        true
    }

    fn in_object(&self) -> bool {
        let innermost = self.depth - 1;
        self.objects[innermost / 64] >> (innermost % 64) & 1 == 1
    }

    fn closing_bracket(&self) -> u8 {
        if self.in_object() { b'}' } else { b']' }
    }

    fn expected(&self) -> &'static str {
        if self.in_object() {
            "',' or '}'"
        } else {
            "',' or ']'"
        }
    }
}
