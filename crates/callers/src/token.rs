//! A client's token as a secret: how a new one looks, and the keyed hash by which one is kept and found. Reads no file and
//! asks no generator: the instance key and the randomness are given.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What every token that the gateway makes begins with, so that scanners for leaked secrets can know one.
pub const TOKEN_PREFIX: &str = "gbt_";

/// A token that was just made. It is shown to whoever made it and kept nowhere; `Debug` prints `***`.
pub struct NewToken(Zeroizing<String>);

impl NewToken {
    /// Writes 256 bits from the system's generator as a token: [`TOKEN_PREFIX`] and 43 characters.
    pub(crate) fn from_random(random: &[u8; 32]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_PREFIX.len() + 43));
        text.push_str(TOKEN_PREFIX);
        URL_SAFE_NO_PAD.encode_string(random, &mut text);
        Self(text)
    }

    /// The token itself. Every call is a place to look at when searching for leaks.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The key under which tokens are hashed: a copied database alone tells nothing of the tokens in it.
pub struct InstanceKey(hmac::Key);

impl InstanceKey {
    /// Takes 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Hashes a token, or what somebody shows as one.
    pub fn hash(&self, token: &[u8]) -> TokenHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(&self.0, token).as_ref());
        TokenHash(hash)
    }
}

impl fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// HMAC-SHA256 of a token under the instance key. Who guesses cannot steer it, so a map may be searched for it.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(test)]
        tests::COMPARISONS.set(tests::COMPARISONS.get() + 1);
        self.0 == other.0
    }
}

impl Eq for TokenHash {}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        URL_SAFE_NO_PAD.encode(hash.0)
    }
}

impl FromStr for TokenHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut hash = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut hash) {
            Ok(32) => Ok(Self(hash)),
            _ => Err("is not the hash of a token"),
        }
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How often two hashes were compared on this thread.
        pub(crate) static COMPARISONS: Cell<u64> = const { Cell::new(0) };
    }

    #[test]
    fn a_new_token_has_256_bits_behind_its_prefix() {
        let tokens = [[0; 32], [0xff; 32], std::array::from_fn(|at| u8::try_from(at).unwrap())];
        for random in tokens {
            let token = NewToken::from_random(&random);
            let text = token.expose().strip_prefix(TOKEN_PREFIX).unwrap();
            assert_eq!(text.len(), 43);
            assert_eq!(URL_SAFE_NO_PAD.decode(text).unwrap(), random);
            assert_eq!(format!("{token:?}"), "***");
        }
    }

    #[test]
    fn a_hash_is_hmac_sha256_and_hangs_on_the_instance() {
        // RFC 4231, case 2, whose key is padded with zeros as HMAC pads it.
        let mut jefe = [0; 32];
        jefe[..4].copy_from_slice(b"Jefe");
        let hash = InstanceKey::new(&jefe).hash(b"what do ya want for nothing?");
        assert_eq!(hash.0[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(hash.0[28..], [0x64, 0xec, 0x38, 0x43]);
        assert_ne!(hash, InstanceKey::new(&[7; 32]).hash(b"what do ya want for nothing?"));
        assert_ne!(hash, InstanceKey::new(&jefe).hash(b"what do ya want for nothing"));
    }

    #[test]
    fn a_hash_is_written_and_read_and_not_printed() {
        let hash = InstanceKey::new(&[3; 32]).hash(b"gbt_x");
        let text = String::from(hash);
        assert_eq!(text.parse(), Ok(hash));
        for wrong in ["", "x", &text[1..], &format!("{text}A"), "gbt_\u{e9}"] {
            assert!(wrong.parse::<TokenHash>().is_err(), "{wrong}");
        }
        assert_eq!(format!("{hash:?} {:?}", InstanceKey::new(&[3; 32])), "*** ***");
    }
}
