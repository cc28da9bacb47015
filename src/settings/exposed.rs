//! Which of the files that hold secrets every user of the machine can read. One rule for all of them: they are used, and the
//! operator is told; files that Docker and Kubernetes mount for a container are often so, and harmless there.

use super::{Settings, dotenv_file, text_file::is_open_to_others};
use std::path::Path;

impl Settings {
    /// Returns one line for each file with secrets that others can read, beginning with the setting that names it.
    pub(crate) fn exposed_files(&self) -> Vec<String> {
        let mut files = self.files_with_secrets();
        if self.environment.reads_file() {
            files.push((dotenv_file::NAME.to_owned(), Path::new(dotenv_file::NAME)));
        }
        let has_secrets = self.keys.iter().any(|entry| !entry.secret.is_empty())
            || self.auth.tokens.iter().any(|entry| !entry.secret.is_empty())
            || !self.admin.token.is_empty()
            || !self.metrics.token.is_empty()
            || self.cluster_url_has_password();
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
