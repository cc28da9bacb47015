//! What a vault's file says: keys in the clear, one a line, or sealed. A flipped bit is noticed in either form; a file that
//! a person has written or edited has no checksum, and needs none.

use super::{
    KeptKey, MasterKey, VaultError,
    sealing::{self, SealedText, Unopened},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, SubsecRound as _, Utc};
use serde::{Deserialize, Serialize};
use std::path::Path;
use zeroize::Zeroizing;

/// The version of what is written here.
pub(super) const VERSION: u32 = 1;

/// What the file begins with, by its form.
const CLEAR: &str = "keys";
const SEALED: &str = "sealed keys";

/// The file's own frame. In the clear it has the keys and perhaps their checksum, sealed the last three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultEnvelope {
    #[serde(rename = "gemini-balance")]
    form: String,
    version: u32,
    checksum: Option<String>,
    keys: Option<Vec<KeyLine>>,
    salt: Option<String>,
    check: Option<String>,
    sealed: Option<String>,
}

/// No more than what tells what the file is.
#[derive(Deserialize)]
struct Title {
    #[serde(rename = "gemini-balance")]
    form: String,
    version: u32,
}

/// A key as the file has it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    secret: Zeroizing<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(default = "one")]
    weight: u32,
    #[serde(default)]
    added: DateTime<Utc>,
}

fn one() -> u32 {
    1
}

/// Writes keys as the file has them, sealed if there is a master key.
pub(super) fn encode(keys: &[KeptKey], master: Option<&MasterKey>) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let clear = encode_clear(keys);
    let Some(master) = master else { return Ok(clear) };
    let SealedText { salt, check, text } = sealing::seal(clear, master).ok_or(VaultError::NoRandomness)?;
    let [salt, check, text] = [salt, check, text].map(|bytes| STANDARD.encode(bytes));
    let frame = format!(
        "{{\"gemini-balance\":\"{SEALED}\",\"version\":{VERSION},\"salt\":\"{salt}\",\"check\":\"{check}\",\n\"sealed\":\"{text}\"}}\n"
    );
    Ok(Zeroizing::new(frame.into_bytes()))
}

/// Reads the keys of a file; `path` is for errors.
pub(super) fn decode(
    bytes: Vec<u8>,
    master: Option<&MasterKey>,
    path: &Path,
) -> Result<Vec<KeptKey>, VaultError> {
    let bytes = Zeroizing::new(bytes);
    let frame = frame_of(&bytes, path)?;
    let damaged = |why| VaultError::Damaged(path.to_owned(), why);
    if frame.form == CLEAR {
        return keys_of(frame, path);
    }
    let (Some(salt), Some(check), Some(text)) = (frame.salt, frame.check, frame.sealed) else {
        return Err(damaged("a part is missing"));
    };
    let master = master.ok_or_else(|| VaultError::Sealed(path.to_owned()))?;
    let bytes = |text: String| STANDARD.decode(text).map_err(|_| damaged("it is not base64"));
    let sealed = SealedText { salt: bytes(salt)?, check: bytes(check)?, text: bytes(text)? };
    let clear = sealing::open(sealed, master).map_err(|why| match why {
        Unopened::WrongMasterKey => VaultError::WrongMasterKey(path.to_owned()),
        Unopened::Damaged => damaged("it is not as it was sealed"),
    })?;
    keys_of(frame_of(&clear, path)?, path)
}

fn encode_clear(keys: &[KeptKey]) -> Zeroizing<Vec<u8>> {
    // Room for all at once: what is given up while a text grows is not wiped.
    let mut text = Zeroizing::new(Vec::with_capacity(128 + 2048 * keys.len()));
    let lines = lines_of(keys.iter().map(|key| KeyLine {
        secret: key.secret.clone(),
        label: key.label.clone(),
        project: key.project.clone(),
        weight: key.weight,
        added: key.added.trunc_subsecs(0),
    }));
    let checksum = crc32fast::hash(&lines);
    text.extend_from_slice(
        format!("{{\"gemini-balance\":\"{CLEAR}\",\"version\":{VERSION},\"checksum\":\"{checksum:08x}\",\n\"keys\":[\n")
            .as_bytes(),
    );
    text.extend_from_slice(&lines);
    text.extend_from_slice(b"\n]}\n");
    text
}

/// Each key on a line of its own.
fn lines_of(keys: impl ExactSizeIterator<Item = KeyLine>) -> Zeroizing<Vec<u8>> {
    let mut lines = Zeroizing::new(Vec::with_capacity(2048 * keys.len()));
    for key in keys {
        if !lines.is_empty() {
            lines.extend_from_slice(b",\n");
        }
        // A struct of texts, a number and a time cannot fail to be written into memory.
        let _ = serde_json::to_writer(&mut *lines, &key);
    }
    lines
}

fn frame_of(bytes: &[u8], path: &Path) -> Result<VaultEnvelope, VaultError> {
    let title = serde_json::from_slice::<Title>(bytes);
    let begins_well = || bytes.trim_ascii_start().starts_with(b"{\"gemini-balance\":");
    match title {
        Ok(title) if title.form != CLEAR && title.form != SEALED => {
            return Err(VaultError::Foreign(path.to_owned()));
        }
        Ok(title) if title.version > VERSION => {
            return Err(VaultError::Newer(path.to_owned(), title.version));
        }
        Err(_) if !begins_well() => return Err(VaultError::Foreign(path.to_owned())),
        _ => {}
    }
    // What is wrong with it may be a part of it, which is not shown.
    let frame = serde_json::from_slice(bytes).ok().filter(|frame: &VaultEnvelope| frame.version == VERSION);
    frame.ok_or_else(|| VaultError::Damaged(path.to_owned(), "it is not as it was written"))
}

fn keys_of(frame: VaultEnvelope, path: &Path) -> Result<Vec<KeptKey>, VaultError> {
    let damaged = |why| VaultError::Damaged(path.to_owned(), why);
    let keys = frame.keys.filter(|_| frame.form == CLEAR).ok_or_else(|| damaged("a part is missing"))?;
    let count = keys.len();
    let mut kept = Vec::with_capacity(count);
    let lines = lines_of(keys.into_iter().inspect(|key| {
        kept.push(KeptKey {
            secret: key.secret.clone(),
            label: key.label.clone(),
            project: key.project.clone(),
            weight: key.weight,
            added: key.added,
        });
    }));
    if let Some(checksum) = frame.checksum
        && checksum != format!("{:08x}", crc32fast::hash(&lines))
    {
        return Err(damaged("its checksum is wrong; if you have edited it, take the checksum out"));
    }
    Ok(kept)
}
