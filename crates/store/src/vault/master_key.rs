//! The master key, under which a vault is sealed: 32 bytes that the operator gives, as text.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::{error, fmt};
use zeroize::Zeroizing;

/// A master key's length in bytes.
const BYTES: usize = 32;

/// A master key. Wiped when dropped, and never printed.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; BYTES]>);

/// A text is no master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMasterKey;

impl fmt::Display for NotAMasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is not {BYTES} bytes in base64 or hex; make one with `openssl rand -base64 32`")
    }
}

impl error::Error for NotAMasterKey {}

impl MasterKey {
    /// Reads one in base64, with or without padding and in either alphabet, or in hex.
    pub fn parse(text: &str) -> Result<Self, NotAMasterKey> {
        let text = text.trim();
        let key = from_hex(text).or_else(|| {
            let lenient =
                GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            [STANDARD, URL_SAFE].iter().find_map(|alphabet| {
                let bytes = Zeroizing::new(GeneralPurpose::new(alphabet, lenient).decode(text).ok()?);
                Some(Zeroizing::new(<[u8; BYTES]>::try_from(&bytes[..]).ok()?))
            })
        });
        key.map(Self).ok_or(NotAMasterKey)
    }

    pub(super) fn expose(&self) -> &[u8; BYTES] {
        &self.0
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<[u8; BYTES]>> {
    let digits = text.as_bytes();
    if digits.len() != 2 * BYTES {
        return None;
    }
    let mut key = Zeroizing::new([0; BYTES]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(key)
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn it_is_32_bytes_in_base64_or_hex_however_they_are_written() {
        let bytes: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 8 + 3).unwrap());
        let hex = bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let engine = base64::engine::general_purpose::STANDARD;
        let standard = engine.encode(bytes);
        let url_safe = standard.replace('+', "-").replace('/', "_");
        assert_ne!(standard, url_safe);
        for text in [
            hex.clone(),
            hex.to_uppercase(),
            standard.clone(),
            standard.trim_end_matches('=').to_owned(),
            url_safe.clone(),
            url_safe.trim_end_matches('=').to_owned(),
            format!("  {standard}\r\n"),
        ] {
            assert_eq!(MasterKey::parse(&text).unwrap().expose(), &bytes, "{text}");
        }
        for text in ["", "correct horse battery staple", &hex[1..], &format!("{hex}00"), &standard[..40]] {
            assert_eq!(MasterKey::parse(text).unwrap_err(), NotAMasterKey, "{text}");
        }
        assert_eq!(format!("{:?}", MasterKey::parse(&hex)), "Ok(***)");
    }
}
