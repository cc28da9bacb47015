//! What another configuration changes: which settings, and which of those hold at once and which only in another process.
//! Pure. `apply` does what a plan says, `reload` tells people of it.

use super::flat::{
    CERTIFICATE, FlatConfiguration, FlatValue, OPERATOR, OPERATOR_CERTIFICATE, OPERATOR_TLS, TLS,
};
use serde::Serialize;
use std::collections::BTreeSet;

/// Settings, and sections, whose changes hold at once. All else waits for another process: what nobody applies must not be
/// said to hold.
const LIVE: [&str; 54] = [
    OPERATOR_CERTIFICATE,
    "admin.token",
    "admin.token_file",
    "affinity.window_s",
    "auth.tokens",
    "formats.callers",
    "formats.enabled",
    "formats.models",
    "formats.responses.max_bytes",
    "formats.responses.ttl_h",
    "keys",
    "limits",
    "log.debug_body_bytes",
    "log.debug_enabled",
    "log.debug_file",
    "log.level",
    "metrics.per_key",
    "metrics.token",
    "metrics.token_file",
    "models.fallback",
    "pool.check_retired_s",
    "pool.cooldown_initial_s",
    "pool.cooldown_max_s",
    "pool.failure_threshold",
    "pool.keys_file",
    "pool.max_wait_ms",
    "pool.max_waiting",
    "pool.rate_limit_wait_s",
    "pool.strategy",
    "prices",
    "retry",
    "server.body_timeout_s",
    "server.cors_origins",
    "server.drain_accept_ms",
    "server.drain_s",
    "server.max_body_bytes",
    "server.max_buffered_bytes",
    "server.max_guesses_per_minute",
    "server.max_upload_bytes",
    "server.public_url",
    CERTIFICATE,
    "server.trusted_proxies",
    "server.write_timeout_s",
    "traces",
    "upstream.connect_timeout_ms",
    "upstream.head_timeout_s",
    "upstream.idle_timeout_s",
    "upstream.redirect_hosts",
    "usage.keep_days_d",
    "usage.keep_hours_d",
    "usage.keep_minutes_h",
    "usage.max_rows",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];

/// What a change of a listener's being there takes with it.
const PARTS: [(&str, &str); 3] =
    [(TLS, CERTIFICATE), (OPERATOR_TLS, OPERATOR_CERTIFICATE), (OPERATOR, "admin.token")];

/// One setting that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// Its full name.
    pub(crate) setting: String,
    /// What it was, as far as that may be shown; `None` where it was not there.
    pub(crate) from: Option<String>,
    /// What it is.
    pub(crate) to: Option<String>,
    /// Whether it holds now: it does at once, or the process has begun with it.
    pub(crate) live: bool,
}

/// What a reload is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReloadPlan {
    /// What differs from the configuration that was read last.
    pub(crate) changes: Vec<Change>,
    /// The settings that another process would take otherwise than this one has.
    pub(crate) restart_needed: Vec<String>,
}

impl ReloadPlan {
    /// Compares the configuration that the process began with, the one read last and the newest.
    pub(crate) fn of(
        started: &FlatConfiguration,
        last: &FlatConfiguration,
        newest: &FlatConfiguration,
    ) -> Self {
        let differ = |one: &FlatConfiguration, name: &str| one.get(name) != newest.get(name);
        let names = |one: &FlatConfiguration| -> BTreeSet<String> {
            one.names().chain(newest.names()).filter(|name| differ(one, name)).map(str::to_owned).collect()
        };
        // A listener that is not there yet has nothing that could change.
        let came = PARTS
            .iter()
            .filter(|(whole, _)| differ(started, whole) && started.get(whole) == Some(&FlatValue::OFF));
        let came: Vec<&str> = came.map(|(_, part)| *part).collect();
        let restart_needed: BTreeSet<String> =
            names(started).into_iter().filter(|name| !is_live(name)).collect();
        let changes =
            names(last).into_iter().filter(|name| !came.contains(&name.as_str())).map(|setting| Change {
                from: last.get(&setting).map(FlatValue::shown),
                to: newest.get(&setting).map(FlatValue::shown),
                live: is_live(&setting) || !differ(started, &setting),
                setting,
            });
        Self { changes: changes.collect(), restart_needed: restart_needed.into_iter().collect() }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.setting;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from == to => write!(f, "{name} has changed, {to}")?,
            (Some(from), Some(to)) => write!(f, "{name} is {to}, was {from}")?,
            (None, Some(to)) => write!(f, "{name} is new, {to}")?,
            (_, None) => write!(f, "{name} is gone")?,
        }
        if self.live { Ok(()) } else { f.write_str("; it needs a restart") }
    }
}

/// Whether a change of this setting holds at once.
pub(super) fn is_live(name: &str) -> bool {
    let is_part =
        |of: &&str| name.strip_prefix(*of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    LIVE.iter().any(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{self, Environment};

    /// Those that need another process.
    const RESTART: [&str; 36] = [
        "admin.host",
        "admin.port",
        "admin.public_url",
        "cluster",
        "formats.responses.store",
        "log.dir",
        "log.files",
        "log.format",
        "log.keep_files",
        "log.rotate_bytes",
        "log.transactions",
        "metrics.listen",
        "pool.runtime_keys",
        "server.head_timeout_s",
        "server.host",
        "server.keep_alive_s",
        "server.max_connections",
        "server.max_unknown_connections",
        "server.port",
        "server.workers",
        "store",
        "supervisor",
        "upstream.ca_file",
        "upstream.gemini_base_url",
        "upstream.openai_base_url",
        "upstream.proxy",
        "usage.day_zone",
        "usage.enabled",
        "usage.max_models",
        "usage.path",
        "usage.recent",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REDIS_PASSWORD",
    ];

    fn flat(values: &[(&str, &str)]) -> FlatConfiguration {
        values.iter().map(|(name, text)| ((*name).to_owned(), FlatValue::shown_as(text))).collect()
    }

    #[test]
    fn of_every_setting_it_is_said_when_a_change_of_it_holds() {
        let settings = settings::load(None, Environment::default()).unwrap();
        for (name, _) in settings.effective().iter() {
            let waits = RESTART
                .iter()
                .any(|of| name.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
            assert!(is_live(name) != waits, "{name}: neither live nor in need of a restart, or both");
        }
        assert!(RESTART.iter().chain(&[TLS, OPERATOR_TLS, OPERATOR]).all(|name| !is_live(name)));
        assert!(
            ["keys.team-a", "auth.tokens.alice", "pool.max_wait_ms", CERTIFICATE].into_iter().all(is_live)
        );
        assert!(crate::settings::TRACE_VARIABLES.into_iter().all(is_live));
        assert!(!is_live("keysmith") && !is_live("server.tls.certificates"));
    }

    #[test]
    fn what_has_changed_is_told_and_what_waits_stays_told_until_it_is_put_back() {
        let started = flat(&[("pool.max_wait_ms", "1"), ("server.port", "1"), ("keys.a", "x")]);
        let second = flat(&[("pool.max_wait_ms", "2"), ("server.port", "2"), ("keys.b", "x")]);
        let plan = ReloadPlan::of(&started, &started, &second);
        let lines: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "keys.a is gone",
                "keys.b is new, x",
                "pool.max_wait_ms is 2, was 1",
                "server.port is 2, was 1; it needs a restart"
            ]
        );
        assert_eq!(plan.restart_needed, ["server.port"]);
        let same = ReloadPlan::of(&started, &second, &second);
        assert!(same.changes.is_empty());
        assert_eq!(same.restart_needed, ["server.port"]);
        let back = ReloadPlan::of(&started, &second, &started);
        assert_eq!((back.changes.len(), back.restart_needed.len()), (4, 0));
        // The process has never had another.
        assert_eq!(back.changes[3].to_string(), "server.port is 1, was 2");
        let third = flat(&[("pool.max_wait_ms", "1"), ("server.port", "3"), ("keys.a", "x")]);
        let on = ReloadPlan::of(&started, &second, &third);
        assert_eq!(on.changes[3].to_string(), "server.port is 3, was 2; it needs a restart");
    }

    #[test]
    fn a_secret_that_changes_is_told_without_being_shown() {
        let configuration = |secret: &str| -> FlatConfiguration {
            [("admin.token".to_owned(), FlatValue::secret([secret.as_bytes()]))].into_iter().collect()
        };
        let (one, other) = (configuration("CANARY-1"), configuration("CANARY-2"));
        let plan = ReloadPlan::of(&one, &one, &other);
        assert_eq!(plan.changes[0].to_string(), "admin.token has changed, ***");
        assert!(!format!("{plan:?}").contains("CANARY"));
        assert!(ReloadPlan::of(&one, &other, &other).changes.is_empty());
    }

    #[test]
    fn a_listener_that_is_not_there_has_nothing_that_could_change_at_once() {
        let off: FlatConfiguration = [(TLS.to_owned(), FlatValue::OFF)].into_iter().collect();
        let on = |certificate: &str| -> FlatConfiguration {
            let certificate = (CERTIFICATE.to_owned(), FlatValue::shown_as(certificate));
            [(TLS.to_owned(), FlatValue::ON), certificate].into_iter().collect()
        };
        let plan = ReloadPlan::of(&off, &off, &on("a"));
        assert_eq!(plan.changes.iter().map(|change| change.setting.as_str()).collect::<Vec<_>>(), [TLS]);
        assert_eq!(plan.restart_needed, [TLS]);
        assert!(ReloadPlan::of(&off, &on("a"), &on("b")).changes.is_empty());
        let renewed = ReloadPlan::of(&on("a"), &on("a"), &on("b"));
        assert!(renewed.changes[0].live && renewed.restart_needed.is_empty());
    }
}
