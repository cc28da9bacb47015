//! One cell: what was counted under one set of labels in one step of time. Cells add.

use crate::{count::add, money::Money, spread::Spread};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What is counted. All of it adds.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// The counters' names, in the order of [`values`](Self::values).
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// All of them, in one order for ever: it is how they are written down. A new one goes to the end.
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name),*]
            }

            pub(crate) fn from_values(values: [u64; Self::NAMES.len()]) -> Self {
                let [$($name),*] = values;
                Self { $($name),* }
            }

            /// Adds another's counts.
            pub fn merge(&mut self, other: &Self) {
                $(add(&mut self.$name, other.$name);)*
            }
        }
    };
}

counters! {
    /// Requests, however they ended: the sum of the eight that follow.
    requests,
    /// Those that were answered with success.
    answered,
    /// Those whose own fault it was.
    client_errors,
    /// Those refused by the caller's own limits.
    refused_caller,
    /// Those that the pool had no key for.
    refused_pool,
    /// Those that Google refused for a quota, on the last key that was tried.
    refused_google,
    /// Those that the upstream failed, or the gateway.
    failed,
    /// Those whose client left, or stopped reading.
    left,
    /// Those whose answer broke off in the middle.
    broken,
    /// Attempts on keys, the first and all that followed a fault.
    attempts,
    /// Tries after a request's first.
    retries,
    /// Prompt tokens that came from no cache.
    input_tokens,
    /// Prompt tokens from a cache.
    cached_tokens,
    /// Answer tokens without the thoughts.
    output_tokens,
    /// Tokens of thoughts.
    thoughts_tokens,
    /// Tokens that tools put into the prompt.
    tool_tokens,
    /// List price in billionths of a unit of the currency, of what has a price.
    cost_billionths,
    /// Requests that cost something unknown.
    unpriced,
    /// Bytes of request bodies.
    bytes_in,
    /// Bytes of answers' bodies.
    bytes_out,
    /// From arrival to the end, in microseconds.
    duration_us,
    /// From arrival to the first byte or event, in microseconds, of those that came so far.
    first_event_us,
}

impl Counters {
    /// The list price.
    pub fn cost(&self) -> Money {
        Money::from_billionths(self.cost_billionths)
    }
}

/// How the requests' times spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spreads {
    /// From arrival to the end.
    pub duration: Spread,
    /// From arrival to the first byte or event.
    pub first_event: Spread,
}

/// One cell. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The counts that are added when cells are put together.
    pub counters: Counters,
    /// The most requests in one minute under these labels. Of two, the larger counts.
    pub peak: u64,
    /// Kept for models only.
    pub spreads: Option<Box<Spreads>>,
}

impl Cell {
    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.peak = self.peak.max(other.peak);
        if let Some(theirs) = &other.spreads {
            let mine = self.spreads.get_or_insert_default();
            mine.duration.merge(&theirs.duration);
            mine.first_event.merge(&theirs.first_event);
        }
    }
}
