//! Puts another configuration to use: each part of the service is given what is its own, without a stop. What refuses a
//! change comes first, so that nothing is done by halves.

use super::{flat::FlatConfiguration, print::settings_print, shown::shown_settings};
use crate::{
    configuration::Configuration,
    http::{BodyBudget, BodyLog, CurrentSettings, Gate, Guesses, KeptResponses, SharedSettings},
    keys::{KeysError, RuntimeKeys},
    logging::Logging,
    metrics::Metrics,
    operator::Sessions,
    prices::RuntimePrices,
    tls::ShownCertificate,
    tokens::Tokens,
};
use gemini_balance_actors::{
    CurrentKeys,
    accounting::{AccountingRules, Accounts},
    cluster::Cluster,
    exporter::Traces,
    ledger::Ledger,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// The parts of the service that a configuration reaches while it runs.
pub(crate) struct Parts {
    /// What requests are served by.
    pub(crate) current: SharedSettings,
    /// The keys that the pool has now.
    pub(crate) pool_keys: CurrentKeys,
    pub(crate) runtime_keys: Arc<RuntimeKeys>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) accounts: Option<Accounts>,
    pub(crate) ledger: Ledger,
    pub(crate) logging: Logging,
    pub(crate) guesses: Arc<Guesses>,
    pub(crate) budget: BodyBudget,
    pub(crate) responses: KeptResponses,
    /// How often retired keys are checked.
    pub(crate) check_every: watch::Sender<Duration>,
    /// The certificate that clients are shown, if there was one at the start.
    pub(crate) certificate: Option<Arc<ShownCertificate>>,
    /// The same of the operator's listener.
    pub(crate) operator_certificate: Option<Arc<ShownCertificate>>,
    /// Who is let in at the operator's listener.
    pub(crate) operators_gate: Arc<Gate>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) prices: Arc<RuntimePrices>,
    pub(crate) traces: Traces,
    pub(crate) cluster: Option<Cluster>,
}

impl Parts {
    /// Gives each part what is its own. An error is one line, and then nothing has changed.
    pub(super) async fn apply(
        &self,
        configuration: &Configuration,
        revision: u64,
        restart_needed: Vec<String>,
    ) -> Result<(), String> {
        let settings = &configuration.settings;
        let (prices, planned) = self.prices.plan(&settings.prices);
        let prices = prices.unwrap_or_else(|| configuration.prices.clone());
        let collector = self.traces.prepare(configuration.tracing.as_ref());
        let collector = collector.map_err(|error| settings.upstream_refused(&error).to_string())?;
        self.reconcile(configuration).await?;
        self.tokens.configure(&configuration.tokens, &self.pool_keys.ring());
        if let (Some(accounts), Some(accounting)) = (&self.accounts, &configuration.accounting) {
            accounts.revise(AccountingRules {
                retention: accounting.retention,
                prices: prices.clone(),
                callers: self.tokens.caller_names(),
                per_key: accounting.per_key,
            });
        }
        if let Some(cluster) = &self.cluster {
            cluster.revise(settings_print(&FlatConfiguration::of(configuration)));
        }
        self.ledger.set_window(Duration::from_secs(settings.affinity.window_s));
        self.guesses.set_most(settings.server.max_guesses_per_minute);
        self.budget.set_most(settings.server.max_buffered_bytes);
        self.responses.revise(&settings.formats.responses);
        self.check_every.send_replace(Duration::from_secs(settings.pool.check_retired_s));
        let operator = configuration.operator.as_ref().map(|(_, token)| token);
        if operator.is_none_or(|token| !self.operators_gate.knows(token.expose().as_bytes())) {
            self.sessions.end_all();
        }
        self.operators_gate.set_operator(operator);
        self.traces.put(collector);
        self.metrics.set_token(configuration.metrics_token.as_ref());
        for (shown, certificate, of) in [
            (&self.certificate, &configuration.certificate, ""),
            (&self.operator_certificate, &configuration.operator_certificate, " by the operator's listener"),
        ] {
            if let (Some(shown), Some(certificate)) = (shown, certificate)
                && shown.show(certificate)
            {
                log::info!(target: "tls", "the certificate in {} is in use{of}", certificate.path().display());
            }
        }
        self.current.store(Arc::new(CurrentSettings {
            revision,
            restart_needed,
            prices,
            ..current_settings(configuration, &self.pool_keys)
        }));
        self.prices.configured(&settings.prices, planned);
        Ok(())
    }

    /// Changes what is logged. Last, so that what is said of the change is said as before.
    pub(super) fn apply_to_log(&self, configuration: &Configuration) {
        self.logging.apply(&configuration.settings.log, configuration.level);
    }
}

impl Parts {
    /// Gives the pool its keys, limits and rules.
    async fn reconcile(&self, configuration: &Configuration) -> Result<(), String> {
        match self.runtime_keys.reconfigure(configuration.ring.clone(), configuration.rules.clone()).await {
            Ok(()) => Ok(()),
            Err(KeysError::LastKey) => Err(configuration.settings.no_key().to_string()),
            Err(KeysError::Unanswered) => Err("the key manager does not answer; try again".to_owned()),
            Err(error) => Err(format!("keys: {error}")),
        }
    }
}

/// Makes what requests are served by, of a configuration as it is at the start.
pub(crate) fn current_settings(configuration: &Configuration, keys: &CurrentKeys) -> CurrentSettings {
    let settings = &configuration.settings;
    CurrentSettings {
        revision: 1,
        restart_needed: Vec::new(),
        server: Arc::new(settings.server.clone()),
        cors: Arc::clone(&configuration.cors),
        origins: Arc::clone(&configuration.origins),
        bodies: BodyLog::new(&settings.log, keys),
        limits: settings.limits(),
        upstream: configuration.upstream.clone(),
        prices: configuration.prices.clone(),
        formats: settings.formats.enabled.clone(),
        model_maps: Arc::clone(&configuration.model_maps),
        shown: Arc::new(shown_settings(configuration)),
    }
}
