//! Tables of counted figures in `docs/benchmarks.md`.

use std::path::PathBuf;
use std::sync::Mutex;

use crate::cost::ACCEPT;

/// Tests run beside each other, and each writes its own part.
static PAGE: Mutex<()> = Mutex::new(());

/// Compares the part `section` of the page with `table`, or writes it.
pub(crate) fn assert_page(section: &str, table: &str) {
    let _turn = PAGE.lock();
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
    let mut text = std::fs::read_to_string(&page).unwrap();
    let (begin, end) = (format!("<!-- {section} -->\n"), format!("<!-- end of {section} -->\n"));
    let from = text.find(&begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len();
    let to = from + text[from..].find(&end).unwrap_or_else(|| panic!("no {end}"));
    if std::env::var_os("UPDATE_FUEL").is_some() {
        text.replace_range(from..to, &format!("\n{table}\n"));
        std::fs::write(page, text).unwrap();
    } else {
        assert_eq!(text[from..to].trim(), table.trim(), "docs/benchmarks.md; {ACCEPT}");
    }
}
