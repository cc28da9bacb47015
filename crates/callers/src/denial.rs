//! Why a caller's request is not served by the caller's own token, whatever the pool could do.

use std::time::Duration;

use crate::limits::LimitName;
use crate::surfaces::SurfaceName;

/// Why a caller is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Its token is disabled.
    Disabled,
    /// Its token has expired, or was replaced by a newer one.
    Expired,
    /// Its token was disabled or removed while the request was under way, which was to end with it.
    Cut,
    /// Its token does not open this surface.
    Surface(SurfaceName),
    /// Its token does not allow this model.
    Model,
    /// The request spends and shows no model, and its token does not allow all of them.
    HiddenModel,
    /// The pool has no key of the projects that it may be served from.
    Projects,
    /// One of its limits is reached.
    Limit(LimitReached),
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// Which; of several, the one that opens last.
    pub name: LimitName,
    /// What it is set to.
    pub limit: u64,
    /// When there will be room, if nothing else is asked for until then.
    pub opens: Opens,
}

/// When there is room under a limit. The later is the greater; what is known counts for more than what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opens {
    /// At once: what was in the way is gone.
    Now,
    /// When requests of the same caller end, or turn out to use less than was thought. Nobody knows when.
    WhenOthersEnd,
    /// When what counts now has ceased to count. Never zero.
    After(Duration),
    /// Not for this request: its input alone is thought to use more than the whole budget.
    Never,
}

impl Opens {
    /// The guess where nobody knows: such a request is soon over, or was small.
    const SOON: Duration = Duration::from_secs(1);

    pub(crate) fn after(duration: Duration) -> Self {
        if duration.is_zero() { Self::Now } else { Self::After(duration) }
    }

    /// When to ask again; `None` where that is of no use.
    pub fn ask_again_in(self) -> Option<Duration> {
        match self {
            Self::Now => Some(Duration::ZERO),
            Self::WhenOthersEnd => Some(Self::SOON),
            Self::After(duration) => Some(duration),
            Self::Never => None,
        }
    }
}

impl Denial {
    /// The word of `x-gemini-balance-limit`.
    pub fn limit_word(&self) -> Option<&'static str> {
        match self {
            Self::Disabled | Self::Expired | Self::Cut => None,
            Self::Surface(_) => Some("surface"),
            Self::Model | Self::HiddenModel => Some("model"),
            Self::Projects => Some("projects"),
            Self::Limit(reached) => Some(reached.name.as_str()),
        }
    }
}
