//! `gemini-balance vault`: seals the file with the keys that were added at runtime under another master key. It needs no
//! running gateway; one that runs would write nothing over what is written here, and has to be restarted.

use super::failure::Failure;
use crate::{counted::counted, settings::Settings};
use clap::{Args, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    /// Seal the keys under a new master key: from --new-key-file, or from `NEW_MASTER_KEY` in the environment
    ///
    /// The present master key is the configured one (`MASTER_KEY` or `store.master_key_file`); without one the file is expected
    /// to be unsealed. Afterwards put the new key in its place, and start the gateway.
    Rekey(Rekey),
}

/// The new master key.
#[derive(Args, Clone, Debug)]
pub(super) struct Rekey {
    /// A file with the new master key: 32 bytes in base64 or hex
    #[arg(long, value_name = "FILE", conflicts_with = "unsealed")]
    new_key_file: Option<PathBuf>,
    /// Write the keys in the clear instead
    #[arg(long)]
    unsealed: bool,
}

/// Does it, and says what to do next.
pub(super) fn run(settings: &Settings, action: &Action) -> Result<ExitCode, Failure> {
    let Action::Rekey(flags) = action;
    let next = if flags.unsealed {
        None
    } else {
        let next = settings.next_master_key(flags.new_key_file.as_deref())?;
        Some(next.ok_or_else(|| {
            Failure::new("give the new master key: --new-key-file FILE, or NEW_MASTER_KEY in the environment; or say --unsealed")
        })?)
    };
    let mut vault = settings.vault_file()?;
    let path = settings.store.vault_file.display();
    if !vault.exists() {
        return Err(Failure::new(format!("there is no {path}: no key was added at runtime")));
    }
    let count = vault.rekey(next).map_err(|error| settings.vault_refused(&error))?;
    let (keys, are) = (counted(count, "key"), if count == 1 { "is" } else { "are" });
    if flags.unsealed {
        out_line!("{path}: {keys} {are} in the clear; take MASTER_KEY or store.master_key_file out");
    } else {
        out_line!("{path}: {keys} {are} sealed under the new master key; put it in the place of the old one");
    }
    out_line!("restart the gateway if it runs");
    Ok(ExitCode::SUCCESS)
}
