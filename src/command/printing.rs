//! What a command prints. One rule holds for all of them: where nobody reads on, as behind `| head -1`, the command ends at once
//! and without a word, as programs of the system do.

use std::{
    fmt,
    io::{self, Write as _},
    process,
};

/// What a shell says of a program that has written to a pipe which nobody reads: 128 and the number of SIGPIPE.
const UNREAD: i32 = 128 + 13;

/// Prints to standard output, as `print!` does.
macro_rules! out {
    ($($what:tt)*) => { $crate::command::printing::print_out(format_args!($($what)*)) };
}

/// Prints a line to standard output, as `println!` does.
macro_rules! out_line {
    ($($what:tt)*) => { $crate::command::printing::print_out(format_args!("{}\n", format_args!($($what)*))) };
}

/// Prints a line to standard error, as `eprintln!` does.
macro_rules! err_line {
    ($($what:tt)*) => { $crate::command::printing::print_err(format_args!("{}\n", format_args!($($what)*))) };
}

/// Returns a number as people write it: a fraction as a plain decimal, however small it is.
pub(super) fn plain(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(fraction) if number.is_f64() => fraction.to_string(),
        _ => number.to_string(),
    }
}

/// Prints to standard output, of which every whole line is seen at once.
pub(super) fn print_out(what: fmt::Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(what) {
        let error = unless_unread(error);
        print_err(format_args!("gemini-balance: cannot write to standard output: {error}\n"));
        process::exit(1);
    }
}

/// Prints a secret that is shown once. Where that cannot be done, `otherwise` says how to come by one.
pub(super) fn print_secret(secret: &str, otherwise: &str) {
    if let Err(error) = writeln!(io::stdout().lock(), "{secret}").map_err(unless_unread) {
        print_err(format_args!("gemini-balance: cannot write to standard output: {error}; {otherwise}\n"));
        process::exit(1);
    }
}

/// Prints to standard error. Where that cannot be done there is nobody to tell.
pub(super) fn print_err(what: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(what).map_err(unless_unread);
}

/// Has standard output seen, though its last line goes on.
pub(super) fn flush() -> io::Result<()> {
    io::stdout().flush().map_err(unless_unread)
}

/// Ends the program where this is the error of a pipe that nobody reads; else gives it back.
pub(super) fn unless_unread(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        process::exit(UNREAD);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_plain_decimal_whatever_its_size() {
        for (json, text) in [
            ("1.2e-6", "0.0000012"),
            ("1e-9", "0.000000001"),
            ("0.0", "0"),
            ("0.000000001", "0.000000001"),
            ("12.03", "12.03"),
            ("1e18", "1000000000000000000"),
            ("18446744073709551615", "18446744073709551615"),
            ("-3", "-3"),
        ] {
            assert_eq!(plain(&serde_json::from_str(json).unwrap()), text);
        }
    }
}
