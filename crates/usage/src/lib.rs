//! What requests have used, as sums that add: what of an answer's token counts is charged, what it costs by the list price,
//! and in which sums a request counts. Pure: no clock, file or thread; time is an argument.
//!
//! Finished requests that count alike are a [`Sample`]. [`Sums`] are those of one second, the unit that is written down. [`fold`] carries
//! seconds into minutes, hours and days, which a [`Query`] groups. Counting twice is nobody's business here: whoever keeps
//! the sums knows which seconds it has (see `UsageBook` in the store). [`RunningCounts`] are what metrics show: they begin with
//! the process and only grow.

mod amounts;
mod billable;
mod breakdown;
mod cell;
mod coding;
mod count;
mod days;
mod fold;
mod labels;
mod last_hour;
mod model_names;
mod money;
mod prices;
mod query;
mod running;
mod sample;
mod spread;
mod sums;

pub use amounts::{RequestAmounts, Times, Totals};
pub use billable::{Billable, billable};
pub use breakdown::Breakdown;
pub use cell::{Cell, Counters, Spreads};
pub use coding::BadCoding;
pub use days::{BadZone, Days, StepSize};
pub use fold::{Folded, fold};
pub use labels::{ANY_MODEL, Family, Labels, NONE, OTHER};
pub use last_hour::LastHour;
pub use model_names::ModelNames;
pub use money::Money;
pub use prices::{Cost, PriceEntry, PriceError, PriceTable, Prices, Processing};
pub use query::{Column, Filter, Query, QueryError, QueryStep, Report, ReportRow};
pub use running::{
    Buckets, CallerCounts, DurationLabels, FaultLabels, FirstEventLabels, Histogram, KeyLabels, MOST_KEYS,
    MOST_SERIES, ModelCounts, Observation, RequestLabels, RunningCounts, TokenCounts,
};
pub use sample::{Counted, KeyUse, RequestOutcome, Sample};
pub use spread::Spread;
pub use sums::{KeyDetail, Sums};
