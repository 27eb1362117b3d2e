use std::ops::Range;

use super::fields::JsonKind;
use super::lexeme::Scanner;
use super::walk::Observe;
use super::{ScanError, ScanErrorKind};

/// Where the members of a body's object stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub members: Vec<MemberPlace>,
}

/// A member's name, with its quotes, and its value.
#[derive(Debug, PartialEq, Eq)]
pub struct MemberPlace {
    pub name: Range<usize>,
    pub value: Range<usize>,
}

/// Counts values.
struct Count(usize);

impl Observe for Count {
    fn value(&mut self, _depth: usize, _kind: JsonKind, _at: usize, _raw: &[u8]) {
        self.0 += 1;
    }
}

/// Finds the members of an object, for whoever has to read and change any of them; `None` if there are more members, or
/// more values altogether, than it may hold. It pauses as a scan does.
pub async fn layout(
    body: &[u8],
    most_members: usize,
    most_values: usize,
) -> Result<Option<Layout>, ScanError> {
    let mut scanner = Scanner::new(body)?;
    scanner.skip_space().await?;
    if !scanner.eat(b'{') {
        return Err(scanner.fault(ScanErrorKind::NotAnObject));
    }
    scanner.skip_space().await?;
    let mut layout = Layout::default();
    let mut count = Count(0);
    let mut is_over = scanner.eat(b'}');
    while !is_over {
        let start = scanner.at;
        let name = start..start + scanner.key().await?.inner.len() + 2;
        let start = scanner.at;
        scanner.value(&mut count).await?;
        let value = start..scanner.at;
        layout.members.push(MemberPlace { name, value });
        if layout.members.len() > most_members || count.0 > most_values {
            return Ok(None);
        }
        scanner.skip_space().await?;
        is_over = scanner.eat(b'}');
        if !is_over {
            scanner.comma("',' or '}'").await?;
        }
    }
    Ok(Some(layout))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn found(body: &str, most_members: usize, most_values: usize) -> Option<Vec<(&str, &str)>> {
        let layout = layout(body.as_bytes(), most_members, most_values);
        let members = layout.now_or_never().unwrap().unwrap()?.members;
        let text = |place: MemberPlace| (&body[place.name], &body[place.value]);
        Some(members.into_iter().map(text).collect())
    }

    #[test]
    fn members_are_found_as_they_stand_and_bounded() {
        let body = r#" { "a" : [1, {"x":2}] ,"\u0062":"c","a":null } "#;
        let all = [
            (r#""a""#, r#"[1, {"x":2}]"#),
            (r#""\u0062""#, r#""c""#),
            (r#""a""#, "null"),
        ];
        assert_eq!(found(body, 3, 6), Some(all.to_vec()));
        assert_eq!(found(body, 2, 6), None);
        assert_eq!(found(body, 3, 5), None);
        assert_eq!(found("{ }", 0, 0), Some(Vec::new()));
    }
}
