/// A decoded `application/x-www-form-urlencoded` text, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form(pub Vec<(String, String)>);

impl Form {
    pub fn parse(text: &str) -> Self {
        let fields = form_urlencoded::parse(text.as_bytes());
        Self(fields.into_owned().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(field, _)| field == name);
        found.next().map(|(_, value)| value.as_str())
    }
}
