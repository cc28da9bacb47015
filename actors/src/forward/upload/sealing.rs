//! How the address of an upload is kept: Google lets anyone go on with an upload whose address he knows, so it is sealed under the
//! token that the client was given for it, of which only a hash is kept beside. Whoever reads the ledger can open nothing;
//! whoever shows the token can.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};

/// What begins a sealed address; one that was kept in the clear begins with a slash.
const SEALED: &str = "sealed1:";
/// What the key is made for.
const FOR: &[u8] = b"gemini-balance upload address 1";

/// Seals an address under a token of 256 bits that seals nothing else. `None` where the system cannot.
pub(in crate::forward) fn seal(address: &str, token: &str) -> Option<String> {
    let mut text = address.as_bytes().to_vec();
    key(token)?.seal_in_place_append_tag(nonce(), Aad::from(FOR), &mut text).ok()?;
    Some(format!("{SEALED}{}", STANDARD_NO_PAD.encode(text)))
}

/// Opens one. `None` for what was sealed under another token, or is damaged.
pub(in crate::forward) fn open(kept: &str, token: &str) -> Option<String> {
    let Some(sealed) = kept.strip_prefix(SEALED) else {
        // Of an upload that was begun before addresses were sealed; those are over in two days.
        return kept.starts_with('/').then(|| kept.to_owned());
    };
    let mut text = STANDARD_NO_PAD.decode(sealed).ok()?;
    let text = key(token)?.open_in_place(nonce(), Aad::from(FOR), &mut text).ok()?;
    String::from_utf8(text.to_vec()).ok()
}

fn key(token: &str) -> Option<LessSafeKey> {
    let made = Salt::new(HKDF_SHA256, &[]).extract(token.as_bytes());
    let key: UnboundKey = made.expand(&[FOR], &AES_256_GCM).ok()?.into();
    Some(LessSafeKey::new(key))
}

/// Each key seals one text.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_opened_by_its_token_alone() {
        let address = "/upload/v1beta/files?upload_id=CANARY";
        let sealed = seal(address, "a-token").unwrap();
        assert!(!sealed.contains("CANARY") && !sealed.contains("upload"), "{sealed}");
        assert_eq!(open(&sealed, "a-token").as_deref(), Some(address));
        let damaged = format!("{}A{}", &sealed[..20], &sealed[21..]);
        for (kept, token) in
            [(sealed.as_str(), "another"), (&damaged, "a-token"), ("sealed1:!", "a-token"), ("", "a-token")]
        {
            assert_eq!(open(kept, token), None, "{kept}");
        }
        assert_eq!(open(address, "any").as_deref(), Some(address), "as it was kept before");
    }
}
