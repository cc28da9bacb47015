//! How a vault's text is sealed: AES-256-GCM under a key of its own for each write, which HKDF-SHA256 makes of the master key
//! and a random salt. A second value made of the same two tells a wrong master key from a damaged file.

use super::MasterKey;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    rand::{SecureRandom as _, SystemRandom},
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The salt's length in bytes.
const SALT_BYTES: usize = 32;
/// The length of what tells the master key.
const CHECK_BYTES: usize = 16;

/// What the two values are made for, so that neither can stand for the other.
const FOR_TEXT: &[u8] = b"gemini-balance vault 1: text";
const FOR_CHECK: &[u8] = b"gemini-balance vault 1: check";

/// A sealed text, and what is needed beside the master key to open it.
pub(super) struct SealedText {
    pub(super) salt: Vec<u8>,
    pub(super) check: Vec<u8>,
    /// The text in cipher, and after it the tag.
    pub(super) text: Vec<u8>,
}

/// Why a text cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unopened {
    /// It was sealed under another master key.
    WrongMasterKey,
    /// It is not as it was sealed.
    Damaged,
}

struct CheckLength;

impl KeyType for CheckLength {
    fn len(&self) -> usize {
        CHECK_BYTES
    }
}

/// Seals a text; `None` where the system has no randomness to give.
pub(super) fn seal(mut text: Zeroizing<Vec<u8>>, master: &MasterKey) -> Option<SealedText> {
    let mut salt = vec![0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).ok()?;
    let made = Derived::of(&salt, master)?;
    made.key.seal_in_place_append_tag(nonce(), Aad::from(FOR_TEXT), &mut *text).ok()?;
    Some(SealedText { salt, check: made.check.to_vec(), text: std::mem::take(&mut *text) })
}

/// Opens a text.
pub(super) fn open(sealed: SealedText, master: &MasterKey) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    if sealed.salt.len() != SALT_BYTES || sealed.check.len() != CHECK_BYTES {
        return Err(Unopened::Damaged);
    }
    let made = Derived::of(&sealed.salt, master).ok_or(Unopened::Damaged)?;
    if !bool::from(made.check[..].ct_eq(&sealed.check)) {
        return Err(Unopened::WrongMasterKey);
    }
    let mut text = Zeroizing::new(sealed.text);
    let length =
        made.key.open_in_place(nonce(), Aad::from(FOR_TEXT), &mut text).map_err(|_| Unopened::Damaged)?.len();
    text.truncate(length);
    Ok(text)
}

/// What is made of a salt and the master key.
struct Derived {
    key: LessSafeKey,
    check: [u8; CHECK_BYTES],
}

impl Derived {
    fn of(salt: &[u8], master: &MasterKey) -> Option<Self> {
        let prk: Prk = Salt::new(HKDF_SHA256, salt).extract(master.expose());
        let key = UnboundKey::from(prk.expand(&[FOR_TEXT], &AES_256_GCM).ok()?);
        let mut check = [0; CHECK_BYTES];
        prk.expand(&[FOR_CHECK], CheckLength).ok()?.fill(&mut check).ok()?;
        Some(Self { key: LessSafeKey::new(key), check })
    }
}

/// Always the same: a key seals one text.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; ring::aead::NONCE_LEN])
}
