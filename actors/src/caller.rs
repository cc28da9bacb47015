//! Who has called, and what of the pool's projects they may see and be served from. The HTTP face finds it out; the ledger
//! and the leases keep to it.

use callers::Registered;
pub use callers::Visibility;
use std::{collections::HashSet, sync::Arc};

/// One who may call.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's name, or with no token configured the id of the key that was shown.
    pub name: Arc<str>,
    /// Which resources exist for it.
    pub visibility: Visibility,
    /// What its token says; `None` of the gateway itself.
    token: Option<Arc<Registered>>,
}

impl From<Arc<Registered>> for Caller {
    fn from(token: Arc<Registered>) -> Self {
        let spec = token.spec();
        Self { name: Arc::clone(&spec.name), visibility: spec.resources, token: Some(token) }
    }
}

impl Caller {
    /// Makes the gateway itself, which asks questions in the course of a request.
    pub(crate) fn gateway() -> Self {
        Self { name: Arc::from(""), visibility: Visibility::All, token: None }
    }

    /// Makes one whose token says nothing but who it is.
    #[cfg(test)]
    pub(crate) fn named(name: &str, visibility: Visibility) -> Self {
        Self { name: name.into(), visibility, token: None }
    }

    /// Returns what its token says; `None` of the gateway itself.
    pub fn token(&self) -> Option<&Arc<Registered>> {
        self.token.as_ref()
    }

    /// Whether what `maker` has made exists for this caller; `None` is what was made outside the gateway.
    pub fn sees(&self, maker: Option<&str>) -> bool {
        self.visibility == Visibility::All || maker.is_none_or(|maker| maker == &*self.name)
    }

    /// Returns the only keys that it may be served by; `None` for all.
    pub(crate) fn served_by(&self) -> Option<Arc<HashSet<Arc<str>>>> {
        self.token.as_ref()?.served_by()
    }

    /// Whether it may use this model.
    pub fn may_use(&self, model: &str) -> bool {
        self.token.as_ref().is_none_or(|token| token.spec().models.fit(model))
    }

    /// Whether it may use every model, so that it sees them all.
    pub(crate) fn may_use_all(&self) -> bool {
        self.token.as_ref().is_none_or(|token| token.spec().models.fit_all())
    }
}
