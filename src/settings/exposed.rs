//! Which of the files that hold secrets every user of the machine can read. One rule for all of them: they are used, and the
//! operator is told; files that Docker and Kubernetes mount for a container are often so, and harmless there.

use super::{Settings, dotenv_file, text_file::is_open_to_others};
use std::path::Path;

impl Settings {
    /// Returns one line for each file with secrets that others can read, beginning with the setting that names it.
    pub(crate) fn exposed_files(&self) -> Vec<String> {
        let named = [
            ("pool.keys_file", &self.pool.keys_file),
            ("admin.token_file", &self.admin.token_file),
            ("metrics.token_file", &self.metrics.token_file),
            ("server.tls.key_file", &self.server.tls.key_file),
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
        if self.environment {
            files.push((dotenv_file::NAME.to_owned(), Path::new(dotenv_file::NAME)));
        }
        let has_secrets = self.keys.iter().any(|entry| !entry.secret.is_empty())
            || self.auth.tokens.iter().any(|entry| !entry.secret.is_empty())
            || !self.admin.token.is_empty()
            || !self.metrics.token.is_empty();
        if let Some(file) = self.file.as_deref().filter(|_| has_secrets) {
            files.push(("--config".to_owned(), file));
        }
        files
            .into_iter()
            .filter(|(_, path)| is_open_to_others(path))
            .map(|(setting, path)| {
                format!("{setting}: every user of this machine can read {}", path.display())
            })
            .collect()
    }
}
