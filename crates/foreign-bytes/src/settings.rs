//! `config.toml`: whatever stands in it is read or refused in one line, which shows no secret, and what was read is the same
//! when it is read again.

use crate::SECRET;
use gemini_balance::settings::{Environment, Settings, of_text};
use std::path::Path;

fn read(text: &str) -> Option<Settings> {
    match of_text(Path::new("config.toml"), text, Environment::default()) {
        Ok(settings) => Some(settings),
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains(SECRET), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
            None
        }
    }
}

/// See the module.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(settings) = read(&text) {
        let rules = settings.pool.rules(&settings.limits);
        let again = read(&text).expect("what was read");
        assert_eq!(again.pool.rules(&again.limits), rules);
        let _ = (settings.limits(), settings.upstream().map_err(|error| error.to_string()));
        let _ = settings.supervisor.intensity();
    }
    // With a secret where one belongs, where none does, and where a value breaks off.
    let secret = [
        format!("{text}\n[[keys]]\nsecret = \"{SECRET}\"\n"),
        format!("{text}\n[admin]\ntoken = \"{SECRET}\"\nport = \"{SECRET}\"\n"),
        format!("{text}\n[pool]\nstrategy = '{SECRET}'"),
        format!("keys = [\"{SECRET}\n{text}"),
        format!("{text}{SECRET}"),
    ];
    for text in secret {
        read(&text);
    }
}
