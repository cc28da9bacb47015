//! Keys as gpt-load seals them: hex of a nonce, the sealed text and its tag, by AES-256-GCM under a key that is made of the
//! variable `ENCRYPTION_KEY`.

use gemini_balance_actors::Secret;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    pbkdf2,
};
use std::num::NonZeroU32;

/// What gpt-load salts its key with, and how often it hashes.
const SALT: &[u8] = b"gpt-load-encryption-v1";
const ROUNDS: NonZeroU32 = match NonZeroU32::new(100_000) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};
/// How many bytes are added to a text when it is sealed.
const ADDED: usize = NONCE_LEN + 16;

/// What opens sealed texts.
pub(super) struct SealKey(LessSafeKey);

impl SealKey {
    /// Derives the key from what the variable holds; takes a tenth of a second.
    pub(super) fn derive(password: &str) -> Option<Self> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, SALT, password.as_bytes(), key.as_mut());
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?)))
    }

    /// Opens a text; `None` where it was sealed under another key, or not at all.
    pub(super) fn open(&self, text: &str) -> Option<Secret> {
        let mut bytes = zeroize::Zeroizing::new(decoded(text)?);
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.0.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        std::str::from_utf8(opened).ok().map(Secret::new)
    }
}

/// Tells whether a text looks sealed. Google's keys do not: they hold other letters.
pub(super) fn looks_sealed(text: &str) -> bool {
    text.len() > 2 * ADDED
        && text.len().is_multiple_of(2)
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sealed elsewhere: by Python's `cryptography`, under "made-up encryption key", with a nonce of bytes 0 to 11.
    const SEALED: &str = "000102030405060708090a0bf1555fdcfda71819e77b081210e8ea2b2b520837a7506fd0207334586005cd9a8557f0fb56d2a4bc8e9ee39b44e547dfbaa984168af35a";
    const KEY: &str = "AIzaSyMadeUpForTests0123456789-abcdefgh";

    #[test]
    fn what_another_program_has_sealed_is_opened_and_nothing_else() {
        let key = SealKey::derive("made-up encryption key").unwrap();
        assert!(looks_sealed(SEALED) && looks_sealed(&SEALED.to_uppercase()));
        assert_eq!(key.open(SEALED).unwrap().expose(), KEY);
        assert_eq!(key.open(&SEALED.to_uppercase()).unwrap().expose(), KEY);
        assert!(SealKey::derive("made-up encryption keys").unwrap().open(SEALED).is_none());
        let changed =
            format!("{}{}", &SEALED[..SEALED.len() - 1], if SEALED.ends_with('0') { '1' } else { '0' });
        for text in ["", "0", "00", "zz", KEY, &SEALED[2..], &SEALED[..SEALED.len() - 2], &changed] {
            assert!(key.open(text).is_none(), "{text}");
        }
        for text in ["", "00", KEY, &SEALED[1..], &"0".repeat(2 * ADDED)] {
            assert!(!looks_sealed(text), "{text}");
        }
    }
}
