//! Files that the settings name: their text, whatever editor has written it, and whether others may read it. For keys,
//! tokens, `config.toml`, `.env` and the key of the certificate.

use super::SettingsError;
use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

/// Reads the text of a file that `setting` names, without a byte order mark.
pub(crate) fn read_text(setting: &str, path: &Path) -> Result<String, SettingsError> {
    let bytes = fs::read(path).map_err(|error| SettingsError::unreadable(setting, path, &error))?;
    text_of(bytes).map_err(|why| {
        SettingsError::unreadable(setting, path, &io::Error::new(io::ErrorKind::InvalidData, why))
    })
}

/// Returns UTF-8 text without its byte order mark, or what is wrong with it.
pub(crate) fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err("it is UTF-16; save it as UTF-8".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        format!("its line {line} is not UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Returns whether users of this machine beyond the owner and its group can read the file.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_loses_its_byte_order_mark_and_what_is_no_utf_8_is_refused_by_its_line() {
        let utf_16: Vec<u8> = [0xFEFF_u16, 0x41].iter().flat_map(|unit| unit.to_le_bytes()).collect();
        for (bytes, text) in [
            (b"\xEF\xBB\xBFA=b\r\n".to_vec(), Ok("A=b\r\n")),
            (b"A=b".to_vec(), Ok("A=b")),
            (Vec::new(), Ok("")),
            (utf_16, Err("UTF-16")),
            (b"\xFE\xFF\0A".to_vec(), Err("UTF-16")),
            (b"A=b\nB=c\nC=\xE9\n".to_vec(), Err("line 3")),
        ] {
            match (text_of(bytes), text) {
                (Ok(found), Ok(text)) => assert_eq!(found, text),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (found, _) => panic!("{found:?}"),
            }
        }
    }

    #[test]
    fn a_file_that_everybody_can_read_is_noticed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, is_open) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true), (0o666, true)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open_to_others(file.path()), is_open, "{mode:o}");
        }
    }
}
