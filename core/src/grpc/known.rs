//! Which methods are known by name.
//!
//! A method's name comes from traffic, and becomes a span's name and a metric's attribute. The semantic conventions
//! ("RPC", `rpc.method`) let a name through only where the method is one that the server has, and say `_OTHER` for the
//! rest. A proxy is not told what the server has, unless the configuration lists it; else it goes by how calls end, and
//! by a bound: whatever is called, no more than [`MOST_HANDLED`] and [`MOST_UNCLEAR`] names are let through.

use crate::config::SortedMap;

/// How many methods are learnt because a server handled a call.
pub const MOST_HANDLED: usize = 1_000;

/// How many methods have their name though nothing shows yet that there is a server which has them.
pub const MOST_UNCLEAR: usize = 100;

/// What the end of a call says about its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// A server said that it has no such method.
    Unimplemented,
    /// The call ended before a server looked at the method, or that cannot be told.
    Unclear,
    /// A server handled it.
    Handled,
}

/// The methods that are known.
#[derive(Clone, Debug)]
pub enum KnownMethods {
    /// Those that the configuration lists.
    Listed(MethodList),
    /// Those that calls have shown.
    Learnt(LearntMethods),
}

impl KnownMethods {
    /// From the configuration's list, where it has one: `package.Service/Method`, or `package.Service/*` for all methods
    /// of a service.
    #[inline]
    pub fn new(listed: Option<&[String]>) -> Self {
        match listed {
            Some(names) => Self::Listed(MethodList::new(names)),
            None => Self::Learnt(LearntMethods::default()),
        }
    }

    /// Takes note of how a call of `name` ended, and says whether the method is known. The name must be a
    /// [method's](super::GrpcMethod::parse), which also bounds its length.
    pub fn recognise(&mut self, name: &[u8], evidence: Evidence) -> bool {
        match self {
            Self::Listed(list) => list.has(name),
            Self::Learnt(methods) => methods.recognise(name, evidence),
        }
    }
}

/// Methods by name, and services whose methods are all known.
#[derive(Clone, Debug)]
pub struct MethodList {
    methods: SortedMap<Box<[u8]>, ()>,
    /// With the slash behind them.
    services: SortedMap<Box<[u8]>, ()>,
}

impl MethodList {
    #[inline]
    fn new(names: &[String]) -> Self {
        let mut list = Self { methods: SortedMap::new(), services: SortedMap::new() };
        for name in names {
            match name.strip_suffix('*') {
                Some(service) => list.services.insert(service.as_bytes().into(), ()),
                None => list.methods.insert(name.as_bytes().into(), ()),
            };
        }
        list
    }

    fn has(&self, name: &[u8]) -> bool {
        let slash = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash.saturating_add(1));
        let (service, method) = name.split_at_checked(slash).unwrap_or_default();
        self.methods.contains_key(name) || (!method.is_empty() && self.services.contains_key(service))
    }
}

/// Methods as calls have shown them.
#[derive(Clone, Debug, Default)]
pub struct LearntMethods {
    /// With whether a server has handled them.
    methods: SortedMap<Box<[u8]>, bool>,
    handled: usize,
}

impl LearntMethods {
    fn recognise(&mut self, name: &[u8], evidence: Evidence) -> bool {
        match (self.methods.get(name), evidence) {
            (Some(true), _) | (Some(false), Evidence::Unclear) => true,
            (None, Evidence::Unimplemented) => false,
            (Some(false), Evidence::Unimplemented) => {
                self.methods.remove(name);
                false
            }
            (known, Evidence::Handled) => {
                let known = known.is_some();
                let room = self.handled < MOST_HANDLED;
                if room {
                    self.methods.insert(name.into(), true);
                    self.handled = self.handled.saturating_add(1);
                }
                known || room
            }
            (None, Evidence::Unclear) => {
                let room = self.methods.len().saturating_sub(self.handled) < MOST_UNCLEAR;
                if room {
                    self.methods.insert(name.into(), false);
                }
                room
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::Evidence::{Handled, Unclear, Unimplemented};
    use super::*;

    #[test]
    fn calls_show_which_methods_there_are() {
        let mut methods = KnownMethods::new(None);
        let steps: &[(&str, Evidence, bool, &str)] = &[
            ("a.A/New", Unimplemented, false, "the server has none"),
            ("a.A/Get", Handled, true, "handled"),
            ("a.A/Get", Unclear, true, "known from before"),
            ("a.A/Get", Unimplemented, true, "known from before: an old server, in a rolling update"),
            ("a.A/Put", Unclear, true, "there is room for those"),
            ("a.A/Put", Unimplemented, false, "now it is clear"),
            ("a.A/New", Handled, true, "the server has it now"),
        ];
        for (name, evidence, known, why) in steps {
            assert_eq!(methods.recognise(name.as_bytes(), *evidence), *known, "{name}: {why}");
        }
    }

    #[test]
    fn however_many_are_called_few_have_a_name() {
        for (evidence, most) in [(Unimplemented, 0), (Unclear, MOST_UNCLEAR), (Handled, MOST_HANDLED)] {
            let mut methods = KnownMethods::new(None);
            let known = (0..5_000).filter(|n| methods.recognise(format!("a.A/M{n}").as_bytes(), evidence)).count();
            assert_eq!(known, most, "{evidence:?}");
            assert!(methods.recognise(b"a.A/Get", Handled) == (most < MOST_HANDLED), "{evidence:?}");
        }
        let mut methods = KnownMethods::new(None);
        for n in 0..MOST_UNCLEAR {
            assert!(methods.recognise(format!("a.A/M{n}").as_bytes(), Unclear));
        }
        assert!(!methods.recognise(b"a.A/More", Unclear), "no room");
        assert!(methods.recognise(b"a.A/M0", Handled), "one is clear now");
        assert!(methods.recognise(b"a.A/More", Unclear), "which makes room");
    }

    #[test]
    fn a_list_is_all_there_is() {
        let list = ["shop.Cart/Get".to_owned(), "shop.Stock/*".to_owned()];
        let mut methods = KnownMethods::new(Some(&list));
        let table: &[(&str, bool, &str)] = &[
            ("shop.Cart/Get", true, "by name"),
            ("shop.Cart/Put", false, "not in the list, though it is handled"),
            ("shop.Stock/Count", true, "by its service"),
            ("shop.Stock/", false, "no method"),
            ("shop.Stock/a/b", false, "a method of another service"),
            ("shop.StockRoom/Count", false, "another service"),
        ];
        for (name, known, why) in table {
            assert_eq!(methods.recognise(name.as_bytes(), Handled), *known, "{name}: {why}");
        }
        assert!(!KnownMethods::new(Some(&[])).recognise(b"a.A/Get", Handled), "an empty list knows none");
    }
}
