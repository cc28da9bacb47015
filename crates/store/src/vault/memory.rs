//! The vault that ends with the process, for a gateway that is to leave nothing behind.

use super::{KeptKey, MAX_KEPT_KEYS, Vault, VaultError};
use std::sync::{Arc, Mutex, PoisonError};

/// Keys in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct VaultMemory(Arc<Mutex<Vec<KeptKey>>>);

impl Vault for VaultMemory {
    fn load(&mut self) -> Result<Vec<KeptKey>, VaultError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn replace(&mut self, keys: &[KeptKey]) -> Result<(), VaultError> {
        if keys.len() > MAX_KEPT_KEYS {
            return Err(VaultError::TooMany);
        }
        keys.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    fn outlives_the_process(&self) -> bool {
        false
    }
}
