//! What a configuration comes to, in a few letters for each part: by it the gateways of a cluster see that one of them was
//! forgotten in a change. The keys are not here: those that were added at runtime count as well, and the cluster knows them.

use super::flat::FlatConfiguration;
use gemini_balance_actors::cluster::SettingsPrint;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Which sections, or settings by their whole name, make which part.
const PARTS: [(&str, &[&str]); 4] = [
    ("limits", &["limits"]),
    ("tokens", &["auth"]),
    ("rules", &["affinity", "formats", "models", "pool", "prices", "retry", "upstream"]),
    // All count a token's day and month under the day's name: where days begin elsewhere, they count another.
    ("day_zone", &["usage.day_zone"]),
];
/// Those that may well differ between machines.
const LEFT_OUT: [&str; 3] = ["pool.keys_file", "upstream.ca_file", "upstream.proxy"];

/// Makes it.
pub(crate) fn settings_print(flat: &FlatConfiguration) -> SettingsPrint {
    SettingsPrint::new(PARTS.map(|(part, sections)| (part, print(flat, sections))))
}

fn print(flat: &FlatConfiguration, of: &[&str]) -> String {
    let is_in = |name: &str| of.contains(&name) || of.contains(&name.split('.').next().unwrap_or(name));
    let mut digest = Sha256::new();
    for name in flat.names().filter(|name| is_in(name) && !LEFT_OUT.contains(name)) {
        let value = flat.get(name).map(|value| format!("{name}={value:?};")).unwrap_or_default();
        digest.update(value.as_bytes());
    }
    let mut text = String::with_capacity(8);
    for byte in &digest.finalize()[..4] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::flat::FlatValue;

    #[test]
    fn a_part_is_another_where_one_of_its_settings_is() {
        let flat = |values: &[(&str, &str)]| -> FlatConfiguration {
            values.iter().map(|(name, text)| ((*name).to_owned(), FlatValue::shown_as(text))).collect()
        };
        let all =
            [("limits", "[]"), ("pool.max_wait_ms", "1"), ("server.port", "1"), ("pool.keys_file", "a")];
        let one = settings_print(&flat(&all));
        let elsewhere =
            [("limits", "[]"), ("pool.max_wait_ms", "1"), ("server.port", "2"), ("pool.keys_file", "b")];
        assert_eq!(settings_print(&flat(&elsewhere)), one);
        let other =
            [("limits", "[]"), ("pool.max_wait_ms", "2"), ("server.port", "1"), ("pool.keys_file", "a")];
        let (one, other) = (one.to_string(), settings_print(&flat(&other)).to_string());
        let part =
            |text: &str, name: &str| text.split(' ').find(|part| part.starts_with(name)).unwrap().to_owned();
        assert_eq!(part(&one, "limits"), part(&other, "limits"));
        assert_ne!(part(&one, "rules"), part(&other, "rules"));
        let zone = |zone: &str, flush: &str| {
            let settings = [("usage.day_zone", zone), ("usage.flush_interval_s", flush)];
            settings_print(&flat(&settings)).to_string()
        };
        assert_eq!(zone("UTC", "1"), zone("UTC", "2"), "of the others each has its own");
        let (here, there) = (zone("UTC", "1"), zone("Europe/Berlin", "1"));
        assert_ne!(part(&here, "day_zone"), part(&there, "day_zone"));
        assert_eq!(part(&here, "rules"), part(&there, "rules"));
    }
}
