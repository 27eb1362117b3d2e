use super::fields::JsonKind;
use super::lexeme::RawString;

/// Looks at the elements of a list for those that only name what a backend has stored: objects with the type
/// `item_reference`, or with an id, no type and no role, or an image that was generated without the image itself.
#[derive(Default)]
pub(super) struct Items {
    pub(super) refers: bool,
    element: Element,
    next: Option<Member>,
}

#[derive(Default)]
struct Element {
    is_object: bool,
    /// Which members it has, by [`Member`].
    has: [bool; 4],
    /// Which of them are not null.
    gives: [bool; 4],
    /// It names a stored item; or nobody can know, because a member occurs twice or the type is not a string.
    refers: bool,
    is_image: bool,
}

#[derive(Clone, Copy)]
enum Member {
    Type,
    Id,
    Role,
    Result,
}

impl Items {
    /// A key of an element.
    pub(super) fn key(&mut self, key: RawString<'_>) {
        let member = match key.folded(&mut [0; 32]) {
            Some(b"type") => Member::Type,
            Some(b"id") => Member::Id,
            Some(b"role") => Member::Role,
            Some(b"result") => Member::Result,
            _ => return,
        };
        self.element.refers |= std::mem::replace(&mut self.element.has[member as usize], true);
        self.next = Some(member);
    }

    /// An element (`depth` 1) or one of its members (2).
    pub(super) fn value(&mut self, depth: usize, kind: JsonKind, raw: &[u8]) {
        if depth == 1 {
            self.element = Element {
                is_object: kind == JsonKind::Object,
                ..Element::default()
            };
            return;
        }
        let Some(member) = self.next.take() else {
            return;
        };
        let is_given = kind != JsonKind::Null;
        self.element.gives[member as usize] |= is_given;
        if matches!(member, Member::Type) && is_given {
            self.element.refers |= kind != JsonKind::String || names(raw, b"item_reference");
            self.element.is_image |= names(raw, b"image_generation_call");
        }
    }

    /// An element has ended.
    pub(super) fn closed(&mut self) {
        let element = std::mem::take(&mut self.element);
        let gives = |member: Member| element.gives[member as usize];
        let is_bare = !gives(Member::Type) && gives(Member::Id) && !gives(Member::Role);
        let is_image = element.is_image && gives(Member::Id) && !gives(Member::Result);
        self.refers |= element.is_object && (element.refers || is_bare || is_image);
    }
}

fn names(raw: &[u8], kind: &[u8]) -> bool {
    let Some(inner) = raw.get(1..raw.len().saturating_sub(1)) else {
        return false;
    };
    let text = RawString {
        inner,
        escaped: true,
    };
    text.ascii(&mut [0; 32]) == kind
}
