//! The paths of the operator's listener. Each file owns a resource.

mod audit_log;
mod callers;
mod cluster;
mod health;
mod import;
mod keys;
mod listed;
mod metrics;
mod models;
mod overview;
mod playground;
mod prices;
mod projects;
mod reload;
mod requests;
mod revision;
mod session;
mod settings;
mod tokens;
mod usage;
mod used;

pub(super) use overview::overview_of;
pub(super) use requests::line;

use super::{Desk, audit, gate, parameters, table::RouteTable};
use std::time::Duration;

/// How long the key manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Adds every path.
pub(super) fn routes(table: &mut RouteTable) {
    for of_resource in [
        audit_log::routes,
        callers::routes,
        cluster::routes,
        health::routes,
        import::routes,
        keys::routes,
        metrics::routes,
        models::routes,
        overview::routes,
        playground::routes,
        prices::routes,
        projects::routes,
        reload::routes,
        requests::routes,
        session::routes,
        settings::routes,
        tokens::routes,
        usage::routes,
    ] {
        of_resource(table);
    }
}
