//! The command line: which command was asked for, and with which settings. Each command is a file of this folder. Every
//! way to fail ends in one line on standard error and a non-zero exit.

#[macro_use]
mod printing;

mod check;
mod cluster;
mod consent;
mod demo;
mod explain;
pub(crate) mod failure;
mod health;
mod import;
mod keys;
mod operator;
mod reload;
mod tokens;
mod usage;
mod vault;

use self::failure::Failure;
use crate::{
    printable::Printable,
    process,
    service::Service,
    settings::{self, Environment},
    signals,
};
use clap::{Parser, Subcommand};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// One address for the whole Gemini API, on a pool of your own keys.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// A TOML file with the settings that differ from the defaults [default: ./config.toml if there is one]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    Serve,
    /// Serve on a simulated Gemini API with made-up keys: nothing to configure, nothing leaves this machine
    Demo(demo::Flags),
    /// Run the simulated Gemini API alone
    Simulator(gemini_simulator::cli::Flags),
    /// List the keys of a running gateway; add, check, change, disable, enable, reset or remove them
    Keys {
        #[command(subcommand)]
        action: Option<keys::Action>,
    },
    /// List the clients' tokens of a running gateway, or make, disable, enable, rotate or remove one
    Tokens {
        #[command(subcommand)]
        action: Option<tokens::Action>,
    },
    /// Seal the file with the keys that were added at runtime, under another master key
    Vault {
        #[command(subcommand)]
        action: vault::Action,
    },
    /// Show what was used through a running gateway: requests, tokens, list price
    Usage(usage::Flags),
    /// Say why a request went where it went: keys passed over, waits, each attempt with Google's words
    Explain {
        /// The request's id: x-request-id of its answer
        id: String,
    },
    /// Have a running gateway read its configuration again, and say what has changed
    Reload(reload::Flags),
    /// Make a configuration of what another gateway has: snailyp's gemini-balance, gpt-load, LiteLLM, or any list of keys
    Import(import::Flags),
    /// List the gateways that share the pool of a running one, and say whether they agree
    Cluster,
    /// Check the configuration, and ask Google about each key without spending quota
    Check,
    /// Ask the gateway that runs on this machine with the same configuration whether it can serve
    Health,
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            err_line!("gemini-balance: {}", Printable(&failure));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    process::harden();
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            signals::disarm()?;
            Service::run(settings_of(arguments.config.as_deref())?, Arc::default(), |_| {})
        }
        Command::Demo(flags) => {
            signals::disarm()?;
            demo::run(&flags, arguments.config.as_deref())
        }
        Command::Simulator(flags) => {
            gemini_simulator::cli::run(flags).map_err(printing::unless_unread)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Keys { action } => keys::run(&settings_of(arguments.config.as_deref())?, action),
        Command::Tokens { action } => tokens::run(&settings_of(arguments.config.as_deref())?, action),
        Command::Vault { action } => vault::run(&settings_of(arguments.config.as_deref())?, &action),
        Command::Usage(flags) => usage::run(&settings_of(arguments.config.as_deref())?, &flags),
        Command::Explain { id } => explain::run(&settings_of(arguments.config.as_deref())?, &id),
        Command::Reload(flags) => reload::run(&settings_of(arguments.config.as_deref())?, flags),
        Command::Import(flags) => import::run(&flags),
        Command::Cluster => cluster::run(&settings_of(arguments.config.as_deref())?),
        Command::Check => check::run(settings_of(arguments.config.as_deref())?),
        Command::Health => health::run(&settings_of(arguments.config.as_deref())?.server),
    }
}

fn settings_of(file: Option<&Path>) -> Result<settings::Settings, Failure> {
    Ok(settings::load(file, Environment::at_start()?)?)
}
