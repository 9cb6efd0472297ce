//! Host calls that answer what a test says, in place of what they would do.

use crate::abi::Status;

/// What an injected host call answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Injected {
    /// This status, with nothing done and nothing written. For a WASI function it is the errno.
    Status(Status),
    /// OK with the data pointer and size given here, whatever may stand there. Only for functions that return data.
    Pointer {
        /// The address that the guest is told.
        address: u32,
        /// The size that the guest is told.
        size: u32,
    },
    /// OK with these bytes in place of the true ones. Only for functions that return data.
    Data(Vec<u8>),
}

/// One rule: which calls, and what they answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    function: String,
    nth: Option<u64>,
    result: Injected,
    seen: u64,
}

impl Injection {
    /// Every call of `function` from now on.
    pub fn every(function: &str, result: Injected) -> Self {
        Self { function: function.to_owned(), nth: None, result, seen: 0 }
    }

    /// The `nth` call of `function` from now on, counted from 1; the others are answered truly.
    pub fn nth(function: &str, nth: u64, result: Injected) -> Self {
        Self { function: function.to_owned(), nth: Some(nth), result, seen: 0 }
    }

    /// Counts a call and says what it answers, if this rule is about it.
    pub(crate) fn on_call(&mut self, function: &str) -> Option<Injected> {
        if self.function != function {
            return None;
        }
        self.seen += 1;
        self.nth.is_none_or(|nth| nth == self.seen).then(|| self.result.clone())
    }
}
