//! Who a caller is and what its token may do: surfaces, models, projects, expiry; requests and tokens by the minute,
//! requests by the day, requests at the same time; budgets by day and month in tokens and money. Pure: no socket, file,
//! clock or thread; the time, the randomness and the instance key are arguments.
//!
//! The HTTP face asks twice. At the door, [`Directory::identify`] says who shows a token and [`Registered::admit`] lets
//! the request in, before its body is read; before the lease, [`Pass::reserve`] books what the body is thought to use.
//! [`Pass::settle`] puts that right when the request ends.
//!
//! What a caller has used before, in a former life of the gateway or under a token that was removed, counts on by its name
//! ([`Directory::begin_with`]).
//!
//! In a cluster ([`Directory::share`]) what counts is what all gateways use: [`Registered::report`] says what they are to know,
//! [`Registered::hear`] takes what they have used, and a request waits in between where [`Pass::wait`] says so.

mod account;
mod counts;
mod denial;
mod directory;
mod globs;
mod kept;
mod limits;
mod output_means;
mod period;
mod roll;
mod shared;
mod spec;
mod surfaces;
mod token;
mod use_report;

pub use account::{Door, Pass, PoolKey, Provenance, Registered};
pub use counts::{AccountReading, Ending, Estimate, LimitReading, Seed, Spent};
pub use denial::{Denial, LimitReached, Opens};
pub use directory::{
    Directory, DirectoryError, Identity, MAX_TOKENS, MIN_CHOSEN_BYTES, TokenListing, TokenState,
};
pub use globs::Globs;
pub use kept::{FormerSecret, KeptToken, TokenChange};
pub use limits::{CallerLimits, LimitName};
pub use period::Used;
pub use roll::{AskFormer, FormerUse};
pub use spec::{
    CallerSpec, MAX_GLOB_BYTES, MAX_GLOBS, MAX_NAME_BYTES, MAX_NOTE_BYTES, ModelShown, SpecError, Visibility,
};
pub use surfaces::{SurfaceName, Surfaces};
pub use token::{InstanceKey, NewToken, TOKEN_PREFIX, TokenHash};
pub use use_report::{MinuteChange, MinuteReply, PeriodChange, PeriodReply, UseReply, UseReport};
