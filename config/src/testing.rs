//! What the tables of the sections share: a section in an otherwise right document.

use crate::Config;

/// A document with `section` at its top, such as `"disabled": true`.
pub(crate) fn document(section: &str) -> String {
    format!("{{\"file_format\": \"1.1\", {section}}}")
}

/// The configuration that `section` makes.
pub(crate) fn accepted(section: &str) -> Config {
    match Config::from_json(document(section).as_bytes()) {
        Ok(config) => config,
        Err(errors) => panic!("{section}: {errors}"),
    }
}

/// The errors that `section` makes, each with its path.
pub(crate) fn rejected(section: &str) -> Vec<String> {
    match Config::from_json(document(section).as_bytes()) {
        Ok(config) => panic!("{section} was accepted: {config:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// Checks that `section` has one error, at `path`, whose text holds `words`.
pub(crate) fn rejected_at(section: &str, path: &str, words: &str) {
    rejected_for(section, path, words, "");
}

/// Like [`rejected_at`], with the reason that a table gives.
pub(crate) fn rejected_for(section: &str, path: &str, words: &str, why: &str) {
    let errors = rejected(section);
    let [error] = errors.as_slice() else { panic!("{section}: {why}: not one error but {errors:#?}") };
    let text = error.strip_prefix(path).and_then(|rest| rest.strip_prefix(": "));
    let text = text.unwrap_or_else(|| panic!("{section}: {why}: not at {path}: {error}"));
    assert!(text.contains(words), "{section}: {why}: {words:?} is not in {error}");
}
