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

impl Scanner<'_> {
    /// Walks one member value of the body's object to its end.
    pub(super) fn value(&mut self, observer: &mut impl Observe) -> Result<JsonKind, ScanError> {
        let mut nest = Nest::default();
        let mut outermost = None;
        loop {
            let kind = self.begin(&mut nest, observer)?;
            let outermost = *outermost.get_or_insert(kind);
            let opened =
                matches!(kind, JsonKind::Array | JsonKind::Object) && !self.at_end_of(&nest);
            if !opened && !self.next_value(&mut nest, observer)? {
                return Ok(outermost);
            }
            if opened && nest.in_object() {
                observer.key(nest.depth, self.key()?);
            }
        }
    }

    /// Reads a scalar, or a container's opening bracket and the white space after it.
    fn begin(
        &mut self,
        nest: &mut Nest,
        observer: &mut impl Observe,
    ) -> Result<JsonKind, ScanError> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => self.string().map(|_| JsonKind::String)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal("true", JsonKind::True)?,
            Some(b'f') => self.literal("false", JsonKind::False)?,
            Some(b'n') => self.literal("null", JsonKind::Null)?,
            Some(bracket @ (b'{' | b'[')) => return self.open(bracket, nest, observer),
            _ => return Err(self.fault(ScanErrorKind::Expected("a value"))),
        };
        observer.value(nest.depth, kind, start, &self.body[start..self.at]);
        Ok(kind)
    }

    fn open(
        &mut self,
        bracket: u8,
        nest: &mut Nest,
        observer: &mut impl Observe,
    ) -> Result<JsonKind, ScanError> {
        let start = self.at;
        let depth = nest.depth;
        if !nest.push(bracket == b'{') {
            return Err(self.fault(ScanErrorKind::TooDeep));
        }
        self.at += 1;
        self.skip_space();
        let kind = match (bracket, self.peek()) {
            (b'{', _) => JsonKind::Object,
            (_, Some(b']')) => JsonKind::EmptyArray,
            _ => JsonKind::Array,
        };
        observer.value(depth, kind, start, &self.body[start..start + 1]);
        Ok(kind)
    }

    fn at_end_of(&self, nest: &Nest) -> bool {
        nest.depth > 0 && self.peek() == Some(nest.closing_bracket())
    }

    /// After a value: closes the containers that end here and moves to the next value, if there is one.
    fn next_value(
        &mut self,
        nest: &mut Nest,
        observer: &mut impl Observe,
    ) -> Result<bool, ScanError> {
        while nest.depth > 0 {
            self.skip_space();
            if !self.eat(nest.closing_bracket()) {
                self.comma(nest.expected())?;
                if nest.in_object() {
                    observer.key(nest.depth, self.key()?);
                }
                return Ok(true);
            }
            nest.depth -= 1;
            observer.closed(nest.depth, self.at);
        }
        Ok(false)
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
