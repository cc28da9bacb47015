//! Keys in a text of any kind: what a person has pasted together, or a file with one key a line. What can be a key is
//! `gemini::pasted`'s to say.

use super::{
    ImportError,
    imported::{Import, KeyDetails},
};
use gemini::pasted::{self, KeyForm};

/// Takes the keys of a text that look as Google's do, and names the places of the words that may be keys and do not.
pub(super) fn take(
    document: &str,
    text: &str,
    enabled: bool,
    import: &mut Import,
) -> Result<(), ImportError> {
    let found = pasted::read(text).map_err(|error| ImportError::new(document, error))?;
    for key in &found.keys {
        let place = format!("line {} of {document}", key.line);
        if key.form == KeyForm::Usual {
            import.add_key(place, key.text, KeyDetails { enabled, ..KeyDetails::default() })?;
        } else if !key.is_repeated {
            let length = key.text.len();
            import.leave(format!("{place}: {length} characters that do not look like a key of Google's"));
        }
    }
    Ok(())
}
