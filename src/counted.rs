//! How many there are of something, as people say it: `1 key`, `2 keys`.

use std::fmt::Display;

/// Returns the number with the noun behind it, of which `noun` is the singular and an `s` makes the plural.
pub(crate) fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_one_and_all_other_numbers_are_many() {
        for (count, words) in [(0, "0 keys"), (1, "1 key"), (2, "2 keys"), (11, "11 keys")] {
            assert_eq!(counted(count, "key"), words);
        }
    }
}
