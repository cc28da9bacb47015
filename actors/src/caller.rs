//! Who has called, and what of the pool's projects they may see. The HTTP face finds it out; the ledger keeps to it.

use std::sync::Arc;

/// One who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name, or with no token configured the id of the key that was shown.
    pub name: Arc<str>,
    /// Which resources exist for it.
    pub visibility: Visibility,
}

/// Which resources exist for a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Those it has made, and those made outside the gateway that it can name.
    Own,
    /// All, as with one key.
    All,
}

impl Caller {
    /// Whether what `maker` has made exists for this caller; `None` is what was made outside the gateway.
    pub fn sees(&self, maker: Option<&str>) -> bool {
        self.visibility == Visibility::All || maker.is_none_or(|maker| maker == &*self.name)
    }
}
