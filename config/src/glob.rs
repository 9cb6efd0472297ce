//! Names with `*` in them, as fields to be masked are named.

/// A name, or a pattern of names in which `*` stands for any characters, also none. ASCII letters match in either case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// From its text.
    pub fn new(text: &str) -> Self {
        Self(text.to_ascii_lowercase())
    }

    /// Whether it fits `name`.
    #[inline]
    pub fn fits(&self, name: &str) -> bool {
        let (mut glob, mut rest) = (self.0.as_bytes(), name.as_bytes());
        // Where to go on when what follows the last `*` does not fit: one character further.
        let mut retry: Option<(&[u8], &[u8])> = None;
        loop {
            match (glob, rest) {
                ([], []) => return true,
                ([b'*', tail @ ..], _) => {
                    retry = Some((tail, rest));
                    glob = tail;
                }
                ([expected, glob_tail @ ..], [byte, tail @ ..]) if byte.eq_ignore_ascii_case(expected) => {
                    (glob, rest) = (glob_tail, tail);
                }
                _ => match retry {
                    Some((tail, [_, later @ ..])) => {
                        retry = Some((tail, later));
                        (glob, rest) = (tail, later);
                    }
                    _ => return false,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn globs() {
        let table: &[(&str, &str, bool, &str)] = &[
            ("phone", "phone", true, "the name"),
            ("Phone", "pHONE", true, "either case"),
            ("phone", "phones", false, "longer"),
            ("phone", "phon", false, "shorter"),
            ("x-user-*", "x-user-phone", true, "a star at the end"),
            ("x-user-*", "x-user-", true, "a star for nothing"),
            ("x-user-*", "x-users", false, "not there"),
            ("*token", "access_token", true, "a star in front"),
            ("*token", "tokens", false, "behind it too much"),
            ("a*b*c", "a-b-b-c", true, "two stars"),
            ("a*b*c", "a-c-b", false, "out of order"),
            ("*", "", true, "anything"),
            ("", "", true, "nothing"),
            ("", "a", false, "nothing and something"),
            ("*aab", "aaaaab", true, "the star gives back"),
        ];
        for (glob, name, expected, why) in table {
            assert_eq!(Glob::new(glob).fits(name), *expected, "{glob} {name}: {why}");
        }
    }
}
