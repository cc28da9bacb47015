//! The binding rule: whose a named resource is, whether this caller may see it, and to which project a request must go
//! that names it. Forwarded requests, Live setups and the later messages of a session all keep to it. Names that the
//! ledger does not hold are asked of each project by `asking`. What names nothing costs one look at its body.

mod asking;
#[cfg(test)]
mod tests;

pub(crate) use asking::AskProject;

use crate::{
    attempts::{AttemptRecord, Ended, LastAnswers, RetryLimits},
    caller::{Caller, Visibility},
    failure::Failure,
    key_manager::KeyManager,
    ledger::{Holding, Ledger, LedgerSilent, entry},
    upstream::WholeAnswer,
};
use asking::Answered;
use gemini::{
    names::{Certainty, Mention, OwnedName},
    operation::Ownership,
    path::Target,
};
use keypool::{KeyId, Reach};

/// What a request is bound to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Binding {
    /// The keys that can serve it.
    pub(crate) reach: Reach,
    /// Where it had better go, as long as that can take it: it makes something, and its caller has made something there.
    pub(crate) prefer: Option<KeyId>,
    /// The resource that binds it, as its caller may be told of it.
    pub(crate) name: Option<String>,
    /// Who made what its path names. Whoever that was also made what comes of it.
    pub(crate) maker: Option<Maker>,
}

/// Who made a resource; `None` if it was made outside the gateway.
pub(crate) type Maker = Option<String>;

/// Why a request cannot be sent to any project. Names are as their caller may be told of them.
#[derive(Debug)]
pub(crate) enum Unbound {
    /// What it names is another caller's, so for this one it does not exist.
    NotVisible(OwnedName),
    /// These two are of different projects.
    TwoProjects(Box<[String; 2]>),
    /// This is of another project than the key that the session is on.
    Elsewhere(String),
    /// No key of the pool reaches this any more.
    OwnerGone(String),
    /// The ledger could not be asked whose it is.
    LedgerSilent,
    /// No project has said that it has this, and one could not say. This is what came of asking it.
    Unclear(Box<Ended<WholeAnswer>>),
}

/// Whose request is to be bound, and on which path.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// The request's id.
    pub(crate) id: &'a str,
    /// The caller who names the resources: what is not its own may be hidden from it.
    pub(crate) caller: &'a Caller,
    /// The path, and what it asks for.
    pub(crate) target: &'a Target,
}

/// What the rule goes by. `Q` puts a question to a project.
pub(crate) struct BindingRule<'a, Q> {
    /// Who made what in which project.
    pub(crate) ledger: &'a Ledger,
    /// Which keys are of one project.
    pub(crate) keys: &'a KeyManager,
    /// How hard projects are asked.
    pub(crate) limits: RetryLimits,
    pub(crate) last_answers: &'a LastAnswers<WholeAnswer>,
    /// Where the attempts to ask projects are written down.
    pub(crate) record: &'a AttemptRecord,
    /// The way to ask a project.
    pub(crate) questions: &'a Q,
}

/// What is done about a name that the ledger does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    /// It binds nothing: it may be Google's own, or cannot be asked for.
    LetPass,
    /// Projects are asked that can answer at once. It may be Google's own, so nothing is waited for, and nothing fails.
    AskIfAtOnce,
    /// Projects are asked, and waited for: one of them owns it.
    Ask,
}

/// For so many of a request's names projects are asked, in their order. A caller can make up any number of them, and each costs
/// a question to every project; what the ledger holds of the others still counts.
const MOST_ASKED: usize = 16;

/// The name under which the ledger keeps a resource.
pub(crate) fn ledger_name(name: &OwnedName) -> String {
    entry(name.as_str()).into_owned()
}

/// Returns a name as its caller is told of it; what is a secret is no name to anybody.
pub(crate) fn shown(name: &OwnedName) -> String {
    match name.collection() {
        "liveHandles" => "the resumption handle".to_owned(),
        "continuationTokens" => "the continuation token".to_owned(),
        "auth_tokens" => "the ephemeral token".to_owned(),
        _ => name.as_str().to_owned(),
    }
}

impl Binding {
    /// Returns the failure that its client is told of: that no key is left is another matter where one project has what
    /// the request names.
    pub(crate) fn failure(&self, failure: Failure) -> Failure {
        match (&self.name, failure) {
            (Some(name), Failure::NoKey(refusal)) if refusal.is_for_operator() => {
                Failure::OwnerGone(name.as_str().into())
            }
            (_, failure) => failure,
        }
    }
}

impl<Q: AskProject> BindingRule<'_, Q> {
    /// Finds what binds a request to a project: what its path names, and what its body mentions.
    pub(crate) async fn bind(&self, asker: Asker<'_>, mentions: &[Mention]) -> Result<Binding, Unbound> {
        let mut binding = Binding::default();
        let operation = &asker.target.operation;
        let in_path = operation
            .resource
            .as_ref()
            .filter(|_| matches!(operation.ownership, Ownership::Bound | Ownership::Unknown))
            .and_then(OwnedName::of);
        if in_path.is_some() || !mentions.is_empty() {
            // Boxed, as few requests name anything and all would carry its memory.
            Box::pin(self.bind_to_names(asker, in_path.as_ref(), mentions, &mut binding)).await?;
        }
        if binding.reach == Reach::Any && operation.ownership == Ownership::Creates {
            binding.prefer = self.ledger.last_creation(&asker.caller.name);
        }
        Ok(binding)
    }

    /// Binds a step of an upload to the key that began it.
    pub(crate) fn bind_upload(&self, session: &Holding) -> Result<Binding, Unbound> {
        const THIS_UPLOAD: &str = "this upload";
        let key = self.ledger.owner(session).ok_or_else(|| Unbound::OwnerGone(THIS_UPLOAD.to_owned()))?;
        Ok(Binding {
            reach: Reach::Only(key),
            prefer: None,
            name: Some(THIS_UPLOAD.to_owned()),
            maker: Some(session.caller.clone()),
        })
    }

    /// Checks what is named where the project is chosen already, by `key`: there is nothing to ask projects for.
    pub(crate) async fn check(
        &self,
        asker: Asker<'_>,
        key: &KeyId,
        mentions: &[Mention],
    ) -> Result<(), Unbound> {
        if mentions.is_empty() {
            return Ok(());
        }
        // Boxed, since most messages name nothing, and every session would keep the room for it.
        Box::pin(async {
            let names: Vec<_> = mentions.iter().map(|mention| &mention.name).collect();
            for (name, holding) in names.iter().zip(self.held(asker, &names).await?) {
                let Some(holding) = holding else { continue };
                let owner = self.visible_owner(asker, name, &holding)?;
                if !self.keys.share_a_project(&owner, key).await {
                    return Err(Unbound::Elsewhere(shown(name)));
                }
            }
            Ok(())
        })
        .await
    }

    async fn bind_to_names(
        &self,
        asker: Asker<'_>,
        in_path: Option<&OwnedName>,
        mentions: &[Mention],
        binding: &mut Binding,
    ) -> Result<(), Unbound> {
        let ownership = asker.target.operation.ownership;
        let of_path = in_path.map(|name| (name, Unknown::of_path(ownership, name)));
        let of_body = mentions.iter().map(|mention| (&mention.name, Unknown::of_mention(mention)));
        let (names, unknown): (Vec<_>, Vec<_>) = of_path.into_iter().chain(of_body).unzip();
        let held = self.held(asker, &names).await?;
        let mut first: Option<(&OwnedName, KeyId)> = None;
        let mut asked = 0;
        for (place, ((name, unknown), held)) in names.into_iter().zip(unknown).zip(held).enumerate() {
            let holding = match (held, unknown) {
                (Some(holding), _) => holding,
                (None, Unknown::LetPass) => continue,
                (None, _) if asked == MOST_ASKED => continue,
                (None, Unknown::Ask | Unknown::AskIfAtOnce) => {
                    asked += 1;
                    match self.ask_projects(asker, name, unknown == Unknown::Ask).await {
                        Answered::Held(holding) => holding,
                        Answered::Nobody => continue,
                        Answered::Unclear(_) if unknown == Unknown::AskIfAtOnce => continue,
                        Answered::Unclear(ended) => return Err(Unbound::Unclear(Box::new(ended))),
                    }
                }
            };
            let owner = self.visible_owner(asker, name, &holding)?;
            if place == 0 && in_path.is_some() {
                binding.maker = Some(holding.caller);
            }
            match &first {
                None => first = Some((name, owner)),
                Some((_, one)) if self.keys.share_a_project(one, &owner).await => {}
                Some((other, _)) => {
                    return Err(Unbound::TwoProjects(Box::new([shown(other), shown(name)])));
                }
            }
        }
        if let Some((name, owner)) = first {
            binding.reach = Reach::ProjectOf(owner);
            binding.name = Some(shown(name));
        }
        Ok(())
    }

    /// Returns what the ledger holds of these, in their order.
    async fn held(&self, asker: Asker<'_>, names: &[&OwnedName]) -> Result<Vec<Option<Holding>>, Unbound> {
        let entries: Vec<String> = names.iter().map(|name| ledger_name(name)).collect();
        match self.ledger.find_all(&entries).await {
            Ok(held) => Ok(held),
            // Without the ledger's word a caller could be shown what is another's.
            Err(LedgerSilent) if asker.caller.visibility == Visibility::Own => Err(Unbound::LedgerSilent),
            Err(LedgerSilent) => Ok(vec![None; names.len()]),
        }
    }

    /// Returns a key of the project that owns it, if this caller may know of it.
    fn visible_owner(&self, asker: Asker<'_>, name: &OwnedName, holding: &Holding) -> Result<KeyId, Unbound> {
        if !asker.caller.sees(holding.caller.as_deref()) {
            return Err(Unbound::NotVisible(name.clone()));
        }
        self.ledger.owner(holding).ok_or_else(|| Unbound::OwnerGone(shown(name)))
    }
}

impl Unknown {
    /// What a path names in a known collection is somebody's, in some perhaps Google's own; in another it may be a typing
    /// error, whose answer must not depend on how every project is.
    fn of_path(ownership: Ownership, name: &OwnedName) -> Self {
        match name.collection() {
            _ if ownership != Ownership::Bound => Self::LetPass,
            "agents" | "voices" | "environments" => Self::AskIfAtOnce,
            _ => Self::Ask,
        }
    }

    fn of_mention(mention: &Mention) -> Self {
        match mention.certainty {
            Certainty::Certain => Self::Ask,
            Certainty::Possible => Self::LetPass,
        }
    }
}
