//! The paths of the operator's listener. Each file owns a resource.

mod health;
mod import;
mod keys;
mod metrics;
mod reload;
mod requests;
mod tokens;
mod usage;

use super::{Desk, audit, gate};
use actix_web::web;
use std::time::Duration;

/// How long the key manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Adds every path.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .configure(health::routes)
        .configure(import::routes)
        .configure(keys::routes)
        .configure(metrics::routes)
        .configure(reload::routes)
        .configure(requests::routes)
        .configure(usage::routes)
        .configure(tokens::routes);
}
