//! The paths of the operator's listener. Each file owns a resource.

mod audit_log;
mod health;
mod import;
mod keys;
mod metrics;
mod models;
mod overview;
mod playground;
mod projects;
mod reload;
mod requests;
mod session;
mod settings;
mod tokens;
mod usage;

pub(super) use overview::overview_of;
pub(super) use requests::line;

use super::{Desk, audit, gate};
use actix_web::web;
use std::time::Duration;

/// How long the key manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most bytes of a request's body, where a path does not say otherwise.
const MAX_BODY: usize = 64 * 1024;

/// Adds every path.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(MAX_BODY))
        .configure(audit_log::routes)
        .configure(health::routes)
        .configure(import::routes)
        .configure(keys::routes)
        .configure(metrics::routes)
        .configure(models::routes)
        .configure(overview::routes)
        .configure(playground::routes)
        .configure(projects::routes)
        .configure(session::routes)
        .configure(settings::routes)
        .configure(reload::routes)
        .configure(requests::routes)
        .configure(usage::routes)
        .configure(tokens::routes);
}
