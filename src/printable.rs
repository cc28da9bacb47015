//! Text of somebody else's making, on its way to a terminal or a log for people: nothing in it may begin a new line, move the
//! cursor, or change the direction of what stands beside it.

use std::fmt::{self, Write as _};

/// Prints a value with what a terminal would act upon escaped, as in `\u{1b}`.
pub(crate) struct Printable<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// Escapes what is written through it.
struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(acts_on_a_terminal) {
            self.0.write_str(&rest[..at])?;
            let sign = rest[at..].chars().next().unwrap_or_default();
            match sign {
                '\n' | '\r' | '\t' => write!(self.0, "{}", sign.escape_debug())?,
                _ => write!(self.0, "{}", sign.escape_unicode())?,
            }
            rest = &rest[at + sign.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// Returns as much of a text as is shown of it.
pub(crate) fn bounded(text: &str, signs: usize) -> &str {
    text.char_indices().nth(signs).map_or(text, |(end, _)| &text[..end])
}

/// Whether a sign is a control character, a line's end, or a mark without a width, such as those that turn the direction of
/// text.
pub(crate) fn acts_on_a_terminal(sign: char) -> bool {
    if sign.is_ascii() {
        return sign.is_ascii_control();
    }
    matches!(sign,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_two_of_its_signs() {
        for (text, cut) in [("abc", "ab"), ("ab", "ab"), ("", ""), ("é🦀x", "é🦀")] {
            assert_eq!(bounded(text, 2), cut);
        }
    }

    #[test]
    fn what_a_terminal_would_act_upon_is_escaped_and_the_rest_stays() {
        for (text, printed) in [
            ("plain, \"quoted\" \\ and é \u{4e2d} 🦀", "plain, \"quoted\" \\ and é \u{4e2d} 🦀"),
            ("x\n2026-11-27 ERROR pool: forged", "x\\n2026-11-27 ERROR pool: forged"),
            ("a\r\tb", "a\\r\\tb"),
            ("\u{1b}[2J\u{7}\0", "\\u{1b}[2J\\u{7}\\u{0}"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("user\u{202e}gpj.exe\u{2066}", "user\\u{202e}gpj.exe\\u{2066}"),
            ("a\u{2028}b\u{200b}\u{feff}", "a\\u{2028}b\\u{200b}\\u{feff}"),
            ("", ""),
        ] {
            assert_eq!(Printable(text).to_string(), printed);
            assert_eq!(
                Printable(format_args!("{text}{}", text.len())).to_string(),
                format!("{printed}{}", text.len())
            );
        }
    }
}
