//! Pseudonyms of persons: the same person always gets the same one, and finding the person means trying all names.

use ring::hmac::{HMAC_SHA256, Key, sign};

const PREFIX: &str = "person-";

pub(crate) struct Pseudonyms(Key);

impl Pseudonyms {
    pub(crate) fn new_key() -> Result<String, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(hex::encode(key))
    }

    pub(crate) fn of_key(key: &str) -> Self {
        Self(Key::new(HMAC_SHA256, key.as_bytes()))
    }

    /// `None`: the name is empty, or already a pseudonym.
    pub(crate) fn of(&self, name: &str) -> Option<String> {
        if name.is_empty() || name.starts_with(PREFIX) {
            return None;
        }
        let tag = sign(&self.0, name.as_bytes());
        let short = tag.as_ref().get(..12).unwrap_or_default();
        Some(format!("{PREFIX}{}", hex::encode(short)))
    }
}

#[cfg(test)]
mod tests {
    use super::Pseudonyms;

    #[test]
    fn a_person_has_one_pseudonym_and_keeps_it() {
        let key = Pseudonyms::new_key().unwrap();
        let pseudonyms = Pseudonyms::of_key(&key);
        let ann = pseudonyms.of("ann@lab.org").unwrap();
        assert_eq!(
            Pseudonyms::of_key(&key).of("ann@lab.org"),
            Some(ann.clone())
        );
        assert_ne!(pseudonyms.of("bob@lab.org"), Some(ann.clone()));
        assert_eq!((pseudonyms.of(&ann), pseudonyms.of("")), (None, None));
        assert!(ann.starts_with("person-") && !ann.contains("ann@"));
        let other = Pseudonyms::of_key(&Pseudonyms::new_key().unwrap());
        assert_ne!(other.of("ann@lab.org"), Some(ann));
    }
}
