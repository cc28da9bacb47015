//! Asks the person at the terminal before something is done. What was read from standard input cannot be answered there.

use super::{failure::Failure, printing};
use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

/// Asks a question, and returns whether the answer is yes. `input_is_taken` says that standard input was something else.
pub(super) fn is_given(question: &str, input_is_taken: bool) -> Result<bool, Failure> {
    out!("{question} [y/N] ");
    printing::flush()?;
    let mut line = String::new();
    if input_is_taken {
        let terminal = File::open("/dev/tty").map_err(|_| {
            Failure::new("there is nobody to ask: say --yes to do what is shown, or name a file")
        })?;
        BufReader::new(terminal).read_line(&mut line)?;
    } else {
        io::stdin().lock().read_line(&mut line)?;
    }
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}
