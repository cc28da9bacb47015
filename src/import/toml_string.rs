//! Texts as TOML writes them, for settings that are taken and for the file that is written.

/// Writes a text as in TOML, whose basic strings escape as JSON's do, and the sign of deletion as well.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
