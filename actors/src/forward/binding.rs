//! What ties a request to a project: the resources it names, whose they are, and whether this caller may know. Names that
//! the ledger does not hold are asked of each project by `asking`. What names nothing costs one look at its body.

use super::{Forwarder, asking::Asked, job::Job, search::Found};
use crate::caller::Visibility;
use crate::failure::Failure;
use crate::ledger::{Holding, LedgerSilent, entry};
use crate::upstream::WholeAnswer;
use bytes::Bytes;
use gemini::{
    absent::absence,
    names::{Certainty, Mention, OwnedName, in_request},
    operation::Ownership,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use keypool::{KeyId, Reach};

/// What a request is tied to.
#[derive(Clone, Debug, Default)]
pub(super) struct Binding {
    /// The keys that can serve it.
    pub(super) reach: Reach,
    /// Where it had better go, as long as that can take it: it makes something, and its caller has made something there.
    pub(super) prefer: Option<KeyId>,
    /// The resource that binds it.
    pub(super) name: Option<String>,
    /// Who made what its path names. Whoever that was also made what comes of it.
    pub(super) maker: Option<Maker>,
}

/// Who made a resource; `None` if it was made outside the gateway.
pub(super) type Maker = Option<String>;

impl Binding {
    pub(super) fn is_bound(&self) -> bool {
        self.reach != Reach::Any
    }
}

/// The name under which the ledger keeps a resource.
pub(crate) fn ledger_name(name: &OwnedName) -> String {
    entry(name.as_str()).into_owned()
}

impl Forwarder {
    /// Finds what ties the request to a project. The error is what the client is answered instead.
    pub(super) async fn bind(&self, job: &Job) -> Result<Binding, Found> {
        let operation = &job.target.operation;
        let mut binding = Binding::default();
        if let Some(session) = &job.upload {
            let Some(key) = self.ledger.owner(session) else {
                return Err(Found::Nothing(Failure::OwnerGone("this upload".into())));
            };
            binding.reach = Reach::Only(key);
            binding.name = Some("this upload".to_owned());
            binding.maker = Some(session.caller.clone());
            return Ok(binding);
        }
        let certainty = match operation.ownership {
            Ownership::Bound => Some(Certainty::Certain),
            // A typing error is not asked after: its answer would depend on how every project is.
            Ownership::Unknown => Some(Certainty::Possible),
            Ownership::Free | Ownership::Creates => None,
        };
        let in_path = certainty.and_then(|certainty| {
            let name = operation.resource.as_ref().and_then(OwnedName::of)?;
            Some(Mention { name, certainty })
        });
        let in_body = if job.body.is_empty() { Vec::new() } else { in_request(&job.body) };
        let mut first: Option<(String, Holding)> = None;
        for (place, mention) in in_path.iter().chain(&in_body).enumerate() {
            // Boxed, as few requests name anything and all would carry its memory.
            let Some(holding) = Box::pin(self.holding(job, mention)).await? else { continue };
            if place == 0 && in_path.is_some() {
                binding.maker = Some(holding.caller.clone());
            }
            match &first {
                None => first = Some((mention.name.as_str().to_owned(), holding)),
                Some((_, other)) if self.ledger.same_project(other, &holding) => {}
                Some((other, _)) => {
                    let names = Box::new([other.clone(), mention.name.as_str().to_owned()]);
                    return Err(Found::Nothing(Failure::TwoProjects(names)));
                }
            }
        }
        match first {
            Some((name, holding)) => {
                let Some(key) = self.ledger.owner(&holding) else {
                    return Err(Found::Nothing(Failure::OwnerGone(name.into())));
                };
                binding.reach = Reach::ProjectOf(key);
                binding.name = Some(name);
            }
            None if operation.ownership == Ownership::Creates => {
                binding.prefer = self.ledger.last_creation(&job.caller.name);
            }
            None => {}
        }
        Ok(binding)
    }

    /// Who holds what is mentioned; `None` if it binds the request to nobody here.
    async fn holding(&self, job: &Job, mention: &Mention) -> Result<Option<Holding>, Found> {
        let name = ledger_name(&mention.name);
        let held = match self.ledger.find(&name).await {
            Ok(held) => held,
            // Without the ledger's word a caller could be shown what is another's.
            Err(LedgerSilent) if job.caller.visibility == Visibility::Own => {
                return Err(Found::Nothing(Failure::LedgerSilent));
            }
            Err(LedgerSilent) => None,
        };
        let held = match held {
            None if mention.certainty == Certainty::Certain => {
                match self.ask_projects(job, &mention.name).await {
                    Asked::Found(holding) => Some(holding),
                    Asked::Nobody => None,
                    Asked::Unclear(found) => return Err(found),
                }
            }
            held => held,
        };
        match held {
            Some(holding) if !job.caller.sees(holding.caller.as_deref()) => {
                Err(Found::Whole(not_there(job, &mention.name)))
            }
            held => Ok(held),
        }
    }
}

/// Google's own words for what is not there.
fn not_there(job: &Job, name: &OwnedName) -> WholeAnswer {
    let absence = absence(&job.target, name);
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    WholeAnswer {
        status: StatusCode::from_u16(absence.status).unwrap_or(StatusCode::NOT_FOUND),
        headers,
        body: Bytes::from(absence.body),
    }
}
