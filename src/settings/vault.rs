//! What the settings say of the vault, which keeps the keys that are added while the service runs: its file, and the master
//! key that seals it.

use super::{RuntimeKeysPlace, Settings, SettingsError, secret_text, text_file::read_text};
use gemini_balance_store::vault::{MasterKey, Vault, VaultFile, VaultMemory};
use std::path::Path;

/// The variable that holds the master key.
const VARIABLE: &str = "MASTER_KEY";
/// The variable that holds the next one.
const NEXT_VARIABLE: &str = "NEW_MASTER_KEY";

impl Settings {
    /// Returns the vault, unread; `None` where keys cannot be added.
    pub(crate) fn vault(&self) -> Result<Option<Box<dyn Vault>>, SettingsError> {
        match self.pool.runtime_keys {
            RuntimeKeysPlace::Off => Ok(None),
            // Nothing is to outlive the process.
            RuntimeKeysPlace::File if self.store.path.as_os_str().is_empty() => {
                Ok(Some(Box::<VaultMemory>::default()))
            }
            RuntimeKeysPlace::File => Ok(Some(Box::new(self.vault_file()?))),
        }
    }

    /// Returns the vault's file, whether it is used or not.
    pub(crate) fn vault_file(&self) -> Result<VaultFile, SettingsError> {
        let path = &self.store.vault_file;
        if path.as_os_str().is_empty() {
            let why = "must name a file; to have no keys added at runtime, set pool.runtime_keys = \"off\"";
            return Err(self.name_source(SettingsError::refused("store.vault_file", why)));
        }
        Ok(VaultFile::new(path, self.master_key()?))
    }

    /// Says why the vault cannot be used.
    pub(crate) fn vault_refused(&self, why: &dyn std::fmt::Display) -> SettingsError {
        self.name_source(SettingsError::refused("store.vault_file", format_args!("cannot be used: {why}")))
    }

    /// Returns the master key, if there is one.
    fn master_key(&self) -> Result<Option<MasterKey>, SettingsError> {
        let file = self.store.master_key_file.trim();
        let given = self.environment.text(VARIABLE)?;
        let key = match (secret_text::unwrapped(&given), file) {
            ("", "") => return Ok(None),
            ("", file) => {
                master_key("store.master_key_file", &read_text("store.master_key_file", Path::new(file))?)
            }
            (text, "") => master_key(VARIABLE, text),
            _ => {
                let why = "is set, and MASTER_KEY too; one is enough";
                Err(SettingsError::refused("store.master_key_file", why))
            }
        };
        key.map(Some).map_err(|error| self.name_source(error))
    }

    /// Returns the master key that is to follow: in a file named on the command line, else in its variable.
    pub(crate) fn next_master_key(&self, file: Option<&Path>) -> Result<Option<MasterKey>, SettingsError> {
        if let Some(path) = file {
            const FLAG: &str = "--new-key-file";
            return master_key(FLAG, &read_text(FLAG, path)?).map(Some);
        }
        let given = self.environment.text(NEXT_VARIABLE)?;
        match secret_text::unwrapped(&given) {
            "" => Ok(None),
            text => master_key(NEXT_VARIABLE, text).map(Some),
        }
    }
}

fn master_key(place: &str, text: &str) -> Result<MasterKey, SettingsError> {
    MasterKey::parse(secret_text::unwrapped(text)).map_err(|error| SettingsError::refused(place, error))
}
