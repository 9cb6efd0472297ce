//! Lists of `name=value`: queries and cookies. Names stay; values go.

use std::borrow::Cow;

use super::rules::Dropped;

/// Given a pair's name and value as they are written, says what becomes of the value; `Ok(None)`: nothing.
pub(super) type Treat<'t> = dyn FnMut(&str, &str) -> Result<Option<Cow<'static, str>>, Dropped> + 't;

/// Rewrites the values of a list of pairs that `separator` parts.
pub(super) fn map_values<'a>(
    list: Cow<'a, str>,
    separator: char,
    treat: &mut Treat<'_>,
) -> Result<Cow<'a, str>, Dropped> {
    let mut changed: Option<String> = None;
    let mut copied: usize = 0;
    let mut position: usize = 0;
    for pair in list.split(separator) {
        let end = position.saturating_add(pair.len());
        if let Some((name, value)) = pair.split_once('=')
            && let Some(instead) = treat(name, value)?
        {
            let text = changed.get_or_insert_default();
            text.push_str(list.get(copied..end.saturating_sub(value.len())).unwrap_or_default());
            text.push_str(&instead);
            copied = end;
        }
        position = end.saturating_add(separator.len_utf8());
    }
    Ok(match changed {
        None => list,
        Some(mut text) => {
            text.push_str(list.get(copied..).unwrap_or_default());
            Cow::Owned(text)
        }
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn values_are_replaced_and_all_else_stays() {
        let table: &[(&str, &str, &str)] = &[
            ("", "", "nothing there"),
            ("q=otel", "q=otel", "nothing sensitive"),
            ("sig=abc", "sig=X", "alone"),
            ("a=1&sig=abc&b=2", "a=1&sig=X&b=2", "in the middle"),
            ("sig=a&&sig=b&", "sig=X&&sig=X&", "twice, with empty pairs"),
            ("sig", "sig", "no value"),
            ("sig=a=b", "sig=X", "the value may hold ="),
            ("design=x", "design=x", "a key that only ends like one"),
        ];
        for (list, expected, why) in table {
            let mut treat = |name: &str, _: &str| Ok((name == "sig").then_some(Cow::Borrowed("X")));
            assert_eq!(map_values(Cow::Borrowed(list), '&', &mut treat).unwrap(), *expected, "{why}");
        }
        assert_eq!(map_values(Cow::Borrowed("a=b"), '&', &mut |_, _| Err(Dropped)), Err(Dropped));
    }
}
