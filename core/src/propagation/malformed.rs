//! What was wrong with a header, as a bounded set: these values label counters.

/// A header format that context is read from or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// W3C `traceparent`.
    TraceContext,
    /// W3C `tracestate`, the companion of [`TraceContext`](Self::TraceContext). Never a parent's format.
    TraceState,
    /// W3C `baggage`. Never a parent's format.
    Baggage,
    /// B3 in the single header `b3`.
    B3,
    /// B3 in the `x-b3-*` headers.
    B3Multi,
    /// Jaeger's `uber-trace-id`.
    Jaeger,
}

impl Format {
    /// All of them, in the order of their discriminants.
    pub const ALL: &'static [Self] =
        &[Self::TraceContext, Self::TraceState, Self::Baggage, Self::B3, Self::B3Multi, Self::Jaeger];

    /// How many formats there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name that counters carry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TraceContext => "tracecontext",
            Self::TraceState => "tracestate",
            Self::Baggage => "baggage",
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
            Self::Jaeger => "jaeger",
        }
    }
}

/// Why a header was not, or not wholly, used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MalformedReason {
    /// The header stands there several times and may not: which one is meant cannot be known.
    Repeated,
    /// A value or one of its fields is shorter or longer than the format says.
    WrongLength,
    /// A byte that the format does not have at that place (bytes outside ASCII among them).
    BadCharacter,
    /// Fields are not separated as the format says, or there are too few or too many of them.
    BadSeparator,
    /// A version that is not allowed (`ff`).
    BadVersion,
    /// A trace id or span id of zeros only.
    ZeroId,
    /// Sampling state or flags that the format does not know.
    BadDecision,
    /// One of two ids that belong together is missing.
    Incomplete,
    /// A list member's key is empty, too long, or has a byte that keys must not have; or there is no key.
    BadKey,
    /// A list member's value is empty, too long, or has a byte that values must not have.
    BadValue,
    /// A key stands in the list more than once: the first is kept.
    DuplicateKey,
    /// More list members than the limit: those on the right are dropped.
    TooManyMembers,
    /// More bytes than the limit: members are dropped, or the whole list where it is far too long.
    TooLong,
}

impl MalformedReason {
    /// All of them, in the order of their discriminants.
    pub const ALL: &'static [Self] = &[
        Self::Repeated,
        Self::WrongLength,
        Self::BadCharacter,
        Self::BadSeparator,
        Self::BadVersion,
        Self::ZeroId,
        Self::BadDecision,
        Self::Incomplete,
        Self::BadKey,
        Self::BadValue,
        Self::DuplicateKey,
        Self::TooManyMembers,
        Self::TooLong,
    ];

    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name that counters carry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repeated => "repeated",
            Self::WrongLength => "wrong_length",
            Self::BadCharacter => "bad_character",
            Self::BadSeparator => "bad_separator",
            Self::BadVersion => "bad_version",
            Self::ZeroId => "zero_id",
            Self::BadDecision => "bad_decision",
            Self::Incomplete => "incomplete",
            Self::BadKey => "bad_key",
            Self::BadValue => "bad_value",
            Self::DuplicateKey => "duplicate_key",
            Self::TooManyMembers => "too_many_members",
            Self::TooLong => "too_long",
        }
    }
}

/// What was malformed in one request: at most one entry a format, in the order in which they were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MalformedList([Option<(Format, MalformedReason)>; Format::COUNT]);

impl MalformedList {
    /// `true` when nothing was malformed.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = (Format, MalformedReason)> + '_ {
        self.0.iter().flatten().copied()
    }

    /// Notes `reason` for `format`, unless one is noted already.
    pub(super) fn push(&mut self, format: Format, reason: MalformedReason) {
        for slot in &mut self.0 {
            match slot {
                Some((noted, _)) if *noted == format => return,
                Some(_) => {}
                None => {
                    *slot = Some((format, reason));
                    return;
                }
            }
        }
    }
}
