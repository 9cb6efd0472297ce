//! A request's headers for tests: gathered into a carrier, and edited as the host does it.

use super::Carrier;
use crate::header::HeaderEdit;

/// Header lines in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request(pub(super) Vec<(String, Vec<u8>)>);

impl Request {
    pub(super) fn new(headers: &[(&str, &str)]) -> Self {
        Self(headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect())
    }

    pub(super) fn carrier(&self) -> Carrier<'_> {
        let mut carrier = Carrier::default();
        for (name, value) in &self.0 {
            carrier.observe(name.as_bytes(), value);
        }
        carrier
    }

    pub(super) fn apply(&mut self, edits: &[HeaderEdit]) {
        for edit in edits {
            match edit {
                HeaderEdit::Set { name, value } => {
                    self.0.retain(|(other, _)| other != name);
                    self.0.push((name.clone().into_owned(), value.clone().into_bytes()));
                }
                HeaderEdit::Add { name, value } => {
                    self.0.push((name.clone().into_owned(), value.clone().into_bytes()));
                }
                HeaderEdit::Remove { name } => self.0.retain(|(other, _)| other != name),
            }
        }
    }

    /// The values of `name`, which are all UTF-8 in tests that ask.
    pub(super) fn lines(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(other, _)| other == name);
        values.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect()
    }
}
