//! Fields: values that are sensitive for where they stand, whatever they look like.

use crate::config::{Glob, Treatment};

/// Fields of one kind, and what is done with each. The first that fits counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<(Glob, Treatment)>);

impl Rules {
    pub(super) fn add(&mut self, globs: &[Glob], treatment: Treatment) {
        self.0.extend(globs.iter().map(|glob| (glob.clone(), treatment)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn find(&self, name: &str) -> Option<Treatment> {
        self.0.iter().find(|(glob, _)| glob.fits(name)).map(|(_, treatment)| *treatment)
    }
}
