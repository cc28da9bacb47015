//! What this crate names things by inside: the places of keys, projects and models, the order of leases, and the sites of
//! cooldowns. None of it leaves the crate, since places are good for one life of the pool only; outside, keys have names.

use std::sync::Arc;

use crate::tool::Tool;

macro_rules! place {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(u32);

        impl $name {
            /// Names what stands at this position. Four billion of anything do not fit into memory.
            pub(crate) fn at(position: usize) -> Self {
                Self(u32::try_from(position).unwrap_or(u32::MAX))
            }

            /// Returns the position, from 0.
            pub(crate) fn position(self) -> usize {
                self.0 as usize
            }
        }
    };
}

place! {
    /// A key's position in the list the pool was made of, stable for the pool's life.
    KeyIx
}
place! {
    /// A project's position, good while it has keys.
    ProjectIx
}
place! {
    /// A model's position, good while something is known of it or one of its leases is out.
    ModelIx
}

/// A model's name; requests that name none have a place of their own.
pub(crate) type Model = Option<Arc<str>>;

/// The number of a lease in the order of granting; 0 for leases of a former incarnation, which come before all.
pub(crate) type Order = u64;

/// Where a cooldown sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Key(KeyIx),
    Project(ProjectIx),
    Model(ProjectIx, Model),
    Tool(ProjectIx, Tool),
}
