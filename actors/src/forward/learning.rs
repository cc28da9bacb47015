//! Learns from an answer what it has made or found: names go to the ledger before the client reads them, and upload
//! addresses get a token of the gateway's own in the place of Google's.

use super::{
    job::Job,
    upload::{hide_upload_id, path_of, seal, upload_id},
};
use crate::{
    binding::{Binding, Maker, ledger_name},
    key_manager::Lease,
    key_ring::Key,
    ledger::{Holding, Ledger, sealed},
};
use chrono::{DateTime, TimeDelta, Utc};
use gemini::{
    names::{Learnt, OwnedName},
    operation::Ownership,
    path::Surface,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::{fmt::Write as _, sync::Arc, time::Duration};

/// How long an upload can be gone on with. Google's own sessions last about as long.
const UPLOAD_LIFE: TimeDelta = TimeDelta::days(2);
/// How long one that is over can still be asked about, by a client that has not got the answer to its last chunk.
const ENDED_UPLOAD_LIFE: TimeDelta = TimeDelta::hours(1);
/// How long the start of an upload may be held back until it is written down.
const WRITE_DOWN: Duration = Duration::from_millis(500);
/// Where an answer says where the upload's bytes go.
const UPLOAD_ADDRESSES: &[&str] = &["x-goog-upload-url", "x-goog-upload-control-url", "location"];

/// Learns from one answer.
pub(super) struct Learner {
    ledger: Ledger,
    key: Arc<Key>,
    caller: Arc<str>,
    /// Who has made what the answer names, if that is not the caller.
    maker: Option<Maker>,
    creates: bool,
    deletes: Option<String>,
    /// Whether this answer may begin an upload.
    begins_upload: bool,
    /// The upload of which this answer may tell that it is over.
    upload: Option<Holding>,
}

impl Learner {
    /// `None` where there is nothing to learn. Boxed, as most requests have nothing and all would carry its memory.
    pub(super) fn of(ledger: &Ledger, job: &Job, binding: &Binding, lease: &Lease) -> Option<Box<Self>> {
        let operation = &job.target.operation;
        if operation.ownership == Ownership::Free {
            return None;
        }
        let owned = operation.resource.as_ref().and_then(|resource| {
            let owned = OwnedName::of(resource)?;
            (owned.as_str() == resource.as_str()).then_some(owned)
        });
        let deletes = owned.filter(|_| job.method == Method::DELETE && operation.verb.is_none());
        let is_upload = job.target.surface == Surface::Upload && job.upload.is_none();
        Some(Box::new(Self {
            ledger: ledger.clone(),
            key: Arc::clone(lease.key()),
            caller: Arc::clone(&job.caller.name),
            // What a request finds that it has not made, and that the ledger did not know, was made outside the gateway.
            maker: binding.maker.clone().or((operation.ownership != Ownership::Creates).then_some(None)),
            creates: operation.ownership == Ownership::Creates,
            deletes: deletes.map(|name| ledger_name(&name)),
            begins_upload: is_upload,
            upload: job.upload.clone(),
        }))
    }

    /// What the head of a good answer says.
    pub(super) async fn head(&self, status: StatusCode, headers: &mut HeaderMap) {
        if !status.is_success() {
            return;
        }
        if self.creates {
            self.ledger.created(&self.caller, self.key.id());
        }
        if let Some(name) = &self.deletes {
            self.ledger.forget(name);
        }
        if self.begins_upload && self.cover_upload(headers) {
            // A client whose upload is forgotten could not go on with it.
            self.ledger.settle(WRITE_DOWN).await;
        }
        if let Some(upload) = &self.upload
            && is_over(headers)
        {
            let ended = Utc::now() + ENDED_UPLOAD_LIFE;
            let expires = Some(upload.expires.map_or(ended, |at| at.min(ended)));
            self.ledger.hold(Holding { expires, ..upload.clone() });
        }
    }

    /// Tells the ledger what the body has named.
    pub(super) fn keep(&self, learnt: Vec<Learnt>) {
        let maker = self.maker.as_ref().map_or(Some(&*self.caller), |maker| maker.as_deref());
        for Learnt { name, expires } in learnt {
            let until = expires
                .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
                .map(|until| until.with_timezone(&Utc));
            self.ledger.learn(&ledger_name(&name), &self.key, maker, until);
        }
    }

    /// Waits, for a short while, until the other gateways know it.
    pub(super) async fn let_others_know(&self) {
        self.ledger.let_others_know().await;
    }

    /// Puts a token in the place of Google's upload id. Whether there was one.
    fn cover_upload(&self, headers: &mut HeaderMap) -> bool {
        let mut covered: Option<Covered> = None;
        let fresh = new_token();
        for header in UPLOAD_ADDRESSES {
            let Some(address) = headers.get(*header).and_then(|value| value.to_str().ok()) else { continue };
            let Some(id) = upload_id(address) else { continue };
            let first = covered
                .get_or_insert_with(|| Covered { id: id.to_owned(), path: path_of(address).to_owned() });
            // Google's own id must not go out, nor the address of another session than the first, which would lead
            // nowhere.
            let own = fresh.as_ref().filter(|_| first.id == id);
            match own.and_then(|token| HeaderValue::from_str(&address.replacen(id, token, 1)).ok()) {
                Some(value) => headers.insert(*header, value),
                None => headers.remove(*header),
            };
        }
        let Some(Covered { id, path }) = covered else { return false };
        hide_upload_id(headers, &id);
        let Some(token) = fresh else { return false };
        let now = Utc::now();
        // One that cannot be sealed cannot be kept: its client begins the upload again.
        let address = seal(&format!("{path}?upload_id={id}"), &token);
        self.ledger.hold(Holding {
            name: sealed("uploads", &token),
            key: self.key.fingerprint().to_owned(),
            project: self.key.project().map(str::to_owned),
            caller: Some(self.caller.to_string()),
            expires: Some(now + UPLOAD_LIFE),
            address,
            made: now,
        });
        true
    }
}

/// Whether an answer tells that its upload is over, whichever way.
fn is_over(headers: &HeaderMap) -> bool {
    headers.get("x-goog-upload-status").is_some_and(|status| status == "final" || status == "cancelled")
}

/// An upload address of Google's.
struct Covered {
    id: String,
    path: String,
}

/// 256 bits that nobody guesses; `None` where the system has no randomness.
fn new_token() -> Option<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).ok()?;
    let mut token = String::with_capacity(64);
    for byte in bytes {
        let _ = write!(token, "{byte:02x}");
    }
    Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
    }
}
