//! `.env`: what is read of one is what the library that takes it into the environment reads of our spelling, and an error shows
//! nothing of a value.

use crate::SECRET;
use gemini_balance::settings::{dotenv_variables, spell_dotenv};
use std::collections::BTreeMap;

/// See the module.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let given = |name: &str| (name == "HOME").then(|| "/home/u".to_owned());
    for text in [text.to_string(), format!("{text}\nNAMED='{SECRET}"), format!("{text}{SECRET}")] {
        match dotenv_variables(&text, given) {
            Ok(variables) => {
                let spelt = spell_dotenv(&variables);
                let read = dotenvy::Iter::new(spelt.as_bytes());
                let read: BTreeMap<String, String> = read.collect::<Result<_, _>>().expect("our spelling");
                assert_eq!(read, variables);
            }
            Err(error) => {
                let error = error.to_string();
                assert!(!error.contains(SECRET), "{error}");
                assert!(!error.contains(char::is_control), "{error:?}");
            }
        }
    }
}
