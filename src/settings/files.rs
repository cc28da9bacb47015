//! Which files a configuration is read from: the file itself, `.env`, and all that the settings name.

use super::{Settings, dotenv_file};
use std::path::{Path, PathBuf};

impl Settings {
    /// Lists every file that a change of can mean another configuration, whether or not it is there.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let config = self.named_file.clone().unwrap_or_else(|| PathBuf::from("config.toml"));
        let mut files = vec![config];
        if self.environment.reads_file() {
            files.push(PathBuf::from(dotenv_file::NAME));
        }
        files.extend(self.files_with_secrets().into_iter().map(|(_, path)| path.to_owned()));
        let certs = [&self.server.tls, &self.admin.tls].map(|tls| tls.cert_file.trim());
        let named = certs.into_iter().chain([self.upstream.ca_file.trim(), self.cluster.ca_file.trim()]);
        files.extend(named.filter(|path| !path.is_empty()).map(PathBuf::from));
        files
    }

    /// Lists the files with secrets that settings name, each with its setting.
    pub(super) fn files_with_secrets(&self) -> Vec<(String, &Path)> {
        let named = [
            ("pool.keys_file", &self.pool.keys_file),
            ("admin.token_file", &self.admin.token_file),
            ("metrics.token_file", &self.metrics.token_file),
            ("store.master_key_file", &self.store.master_key_file),
            ("traces.headers_file", &self.traces.headers_file),
            ("cluster.password_file", &self.cluster.password_file),
            ("server.tls.key_file", &self.server.tls.key_file),
            ("admin.tls.key_file", &self.admin.tls.key_file),
        ];
        let mut files: Vec<(String, &Path)> = named
            .into_iter()
            .filter(|(_, path)| !path.trim().is_empty())
            .map(|(setting, path)| (setting.to_owned(), Path::new(path.trim())))
            .collect();
        let of_keys = self.keys.iter().map(|entry| entry.secret_file.as_deref()).enumerate();
        let of_tokens = self.auth.tokens.iter().map(|entry| entry.secret_file.as_deref()).enumerate();
        files.extend(of_keys.filter_map(|(n, path)| Some((format!("keys[{n}].secret_file"), path?))));
        files
            .extend(of_tokens.filter_map(|(n, path)| Some((format!("auth.tokens[{n}].secret_file"), path?))));
        files
    }
}
