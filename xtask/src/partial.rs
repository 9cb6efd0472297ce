//! Folders in the making: what is installed is built beside its place and moved there when it is whole, so that nobody finds
//! half of it, and nothing stays of what failed.

use crate::places::Places;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of this process alone. It goes with its value, unless it was [put](Self::put) in place.
pub(crate) struct Partial {
    folder: PathBuf,
}

impl Partial {
    /// A name for one in the project's home. Nothing is made yet.
    pub(crate) fn new(places: &Places, of: &str) -> Self {
        let partial = Self { folder: places.home.join(format!("partial-{of}-{}", std::process::id())) };
        // An earlier process with this number may have been killed.
        let _ = fs::remove_dir_all(&partial.folder);
        partial
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder.
    pub(crate) fn create(&self) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {}", self.folder.display()))
    }

    /// Moves it to its place, where nothing stays of what was there.
    pub(crate) fn put(self, place: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(place);
        fs::rename(&self.folder, place).with_context(|| format!("cannot move it to {}", place.display()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_stays_and_the_rest_goes() {
        let home = std::env::temp_dir().join(format!("meshspan-partial-{}", std::process::id()));
        let places = Places { root: home.clone(), home: home.clone(), target: home.clone() };
        let place = home.join("program");
        let make = |text: &str| {
            let partial = Partial::new(&places, "program");
            partial.create().unwrap();
            fs::write(partial.path().join("file"), text).unwrap();
            partial
        };
        for text in ["first", "second"] {
            make(text).put(&place).unwrap();
            assert_eq!(fs::read_to_string(place.join("file")).unwrap(), text);
        }
        let failed = make("third");
        let left = failed.path().to_owned();
        assert!(left.is_dir());
        drop(failed);
        assert!(!left.exists());
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1, "the program alone");
        assert!(Partial::new(&places, "absent").put(&place).is_err());
        fs::remove_dir_all(&home).unwrap();
    }
}
