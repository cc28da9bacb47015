//! A configuration as names and values that can be compared: the settings, and by their own names the keys, the tokens, the
//! certificate and the operator's token. A secret is compared by its digest, and never shown.

use crate::{configuration::Configuration, printable::bounded, settings::REDIS_VARIABLE};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The certificate that clients are shown, where there is one; whether there is one is [`TLS`].
pub(super) const CERTIFICATE: &str = "server.tls.certificate";
pub(super) const TLS: &str = "server.tls";
/// The same of the operator's listener.
pub(super) const OPERATOR_CERTIFICATE: &str = "admin.tls.certificate";
pub(super) const OPERATOR_TLS: &str = "admin.tls";
/// Whether there is an operator's listener; who is let in there is `admin.token`.
pub(super) const OPERATOR: &str = "admin";

/// What is shown of a value, in bytes.
const SHOWN: usize = 200;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlatConfiguration(BTreeMap<String, FlatValue>);

/// The value of a setting, as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FlatValue {
    /// One that may be shown.
    Text(String),
    /// Whether something is there at all.
    Switch(bool),
    /// One that may not.
    Secret([u8; 32]),
}

impl FlatValue {
    #[cfg(test)]
    pub(super) const ON: Self = Self::Switch(true);
    pub(super) const OFF: Self = Self::Switch(false);

    #[cfg(test)]
    pub(super) fn shown_as(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Makes a secret of its parts.
    pub(super) fn secret<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        Self::Secret(digest.finalize().into())
    }

    /// Returns what may be shown.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) => {
                let shown = bounded(text, SHOWN);
                format!("{shown}{}", if shown.len() < text.len() { "..." } else { "" })
            }
            Self::Switch(is_on) => if *is_on { "on" } else { "off" }.to_owned(),
            Self::Secret(_) => "***".to_owned(),
        }
    }
}

impl FlatConfiguration {
    pub(crate) fn of(configuration: &Configuration) -> Self {
        let settings = &configuration.settings;
        let shown = |name: &str, text: &str| match name {
            // They may hold a password.
            "upstream.proxy" | "cluster.url" if !text.is_empty() && text != "\"\"" => {
                FlatValue::secret([text.as_bytes()])
            }
            // The file may be another one under the same name.
            "upstream.ca_file" => {
                let roots = configuration.upstream.extra_roots.iter().map(Vec::as_slice);
                FlatValue::secret(roots.chain([text.as_bytes()]))
            }
            // So may this one, and what it holds is a credential.
            "traces.headers_file" if !text.is_empty() => {
                let headers = configuration.tracing.iter().flat_map(|tracing| &tracing.headers);
                let headers = headers.flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
                FlatValue::secret(headers.chain([text.as_bytes()]))
            }
            _ => FlatValue::Text(text.to_owned()),
        };
        let mut all: BTreeMap<String, FlatValue> =
            settings.effective().iter().map(|(name, text)| (name.to_owned(), shown(name, text))).collect();
        for (key, spec) in configuration.ring.keys().iter().zip(configuration.ring.specs()) {
            let spec = format!("{spec:?}");
            let value = FlatValue::secret([key.secret().expose().as_bytes(), spec.as_bytes()]);
            all.insert(format!("keys.{}", key.id()), value);
        }
        for token in &configuration.tokens {
            let spec = format!("{:?}", token.spec);
            let value = FlatValue::secret([token.secret.expose().as_bytes(), spec.as_bytes()]);
            // One name may have two tokens.
            let mut name = format!("auth.tokens.{}", token.spec.name);
            while all.contains_key(&name) {
                name.push('\'');
            }
            all.insert(name, value);
        }
        for (switch, name, certificate) in [
            (TLS, CERTIFICATE, &configuration.certificate),
            (OPERATOR_TLS, OPERATOR_CERTIFICATE, &configuration.operator_certificate),
        ] {
            all.insert(switch.to_owned(), FlatValue::Switch(certificate.is_some()));
            if let Some(certificate) = certificate {
                let path = certificate.path().as_os_str().as_encoded_bytes();
                all.insert(name.to_owned(), FlatValue::secret([&certificate.fingerprint()[..], path]));
            }
        }
        all.insert(OPERATOR.to_owned(), FlatValue::Switch(configuration.operator.is_some()));
        if let Some((_, token)) = &configuration.operator {
            all.insert("admin.token".to_owned(), FlatValue::secret([token.expose().as_bytes()]));
        }
        if let Some(token) = &configuration.metrics_token {
            all.insert("metrics.token".to_owned(), FlatValue::secret([token.expose().as_bytes()]));
        }
        for (name, text) in settings.trace_variables() {
            all.insert(name.to_owned(), FlatValue::secret([text.as_bytes()]));
        }
        if let Some(password) = settings.redis_variable() {
            all.insert(REDIS_VARIABLE.to_owned(), FlatValue::secret([password.as_bytes()]));
        }
        for (name, text) in settings.environment().of_libraries() {
            all.insert(name.to_owned(), FlatValue::secret([text.as_bytes()]));
        }
        Self(all)
    }

    pub(super) fn get(&self, name: &str) -> Option<&FlatValue> {
        self.0.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl FromIterator<(String, FlatValue)> for FlatConfiguration {
    fn from_iter<I: IntoIterator<Item = (String, FlatValue)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}
