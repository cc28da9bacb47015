//! How a record lies in the store. Beside it stands the fingerprint of the key it speaks of, or of a key of the project: a
//! label may be given to another key tomorrow, and what was held against the old one does not concern the new; and a key that
//! has another label tomorrow is the same key.

use crate::key_ring::{Key, KeyRing};
use chrono::Utc;
use gemini_balance_store::{Change, RecordId, Stored};
use keypool::{KeyId, Owner, Project, Record, Subject};
use serde::{Deserialize, Serialize};

/// What kind of row this is, among those of the store.
const KIND: &str = "pool";

#[derive(Serialize, Deserialize)]
struct Body<R> {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    fingerprint: Option<String>,
    record: R,
}

/// The key a subject hangs on, if it is one key.
fn key_of(subject: &Subject) -> Option<&KeyId> {
    match subject {
        Subject::Key { key } | Subject::Usage { key } | Subject::ModelUsage { key, .. } => Some(key),
        Subject::Project { project }
        | Subject::Model { project, .. }
        | Subject::Limits { project, .. }
        | Subject::Tool { project, .. } => match project {
            Owner::Key(key) => Some(key),
            Owner::Project(_) | Owner::Number(_) => None,
        },
        Subject::Breaker { .. } => None,
    }
}

/// What a row of the pool's says.
#[derive(Debug, PartialEq)]
pub(super) enum KeptRow {
    /// Of what is called so still.
    Same(Record),
    /// Of what was called otherwise when it was written: the key has another label by now, or its project has.
    Moved {
        /// With the present name.
        record: Record,
        /// The name that the row has.
        former: Subject,
    },
}

pub(super) fn encode(record: &Record, ring: &KeyRing) -> Option<Change> {
    let id = RecordId::new(KIND, serde_json::to_string(&record.subject).ok()?);
    if record.is_clear() {
        return Some(Change::Forget(id));
    }
    let key = match (key_of(&record.subject), label_of(&record.subject)) {
        (Some(id), _) => ring.find(id),
        (None, Some(label)) => ring.first_of(label.as_str()),
        (None, None) => None,
    };
    let fingerprint = key.map(|key| key.fingerprint().to_owned());
    let body = serde_json::to_string(&Body { fingerprint, record }).ok()?;
    Some(Change::Put(Stored { id, body, updated: Utc::now() }))
}

/// `None` for a row of another kind, of a key that is here no more, or of a form that is not known.
pub(super) fn decode(row: &Stored, ring: &KeyRing) -> Option<KeptRow> {
    if row.id.kind() != KIND {
        return None;
    }
    let Body { fingerprint, record }: Body<Record> = serde_json::from_str(&row.body).ok()?;
    let known = || fingerprint.as_deref().and_then(|fingerprint| ring.with_fingerprint(fingerprint));
    let key = match (key_of(&record.subject), label_of(&record.subject)) {
        (Some(id), _) => {
            let namesake = ring.find(id).filter(|key| fingerprint.as_deref() == Some(key.fingerprint()));
            namesake.or_else(known)?
        }
        // A project that has keys still is the same, whoever has left it.
        (None, Some(label)) if ring.first_of(label.as_str()).is_none() => match known() {
            Some(key) => key,
            None => return Some(KeptRow::Same(record)),
        },
        (None, _) => return Some(KeptRow::Same(record)),
    };
    let subject = subject_now(&record.subject, key);
    if subject == record.subject {
        return Some(KeptRow::Same(record));
    }
    let former = record.subject.clone();
    Some(KeptRow::Moved { record: Record { subject, ..record }, former })
}

/// The label a subject hangs on, if it is one.
fn label_of(subject: &Subject) -> Option<&Project> {
    match subject {
        Subject::Key { .. }
        | Subject::Usage { .. }
        | Subject::ModelUsage { .. }
        | Subject::Breaker { .. } => None,
        Subject::Project { project }
        | Subject::Model { project, .. }
        | Subject::Limits { project, .. }
        | Subject::Tool { project, .. } => match project {
            Owner::Project(label) => Some(label),
            Owner::Key(_) | Owner::Number(_) => None,
        },
    }
}

/// Returns what a subject of this key, or of its project, is called now.
fn subject_now(subject: &Subject, key: &Key) -> Subject {
    let id = key.id().clone();
    let project = key.project().map_or_else(|| Owner::Key(id.clone()), |label| Owner::Project(label.into()));
    match subject.clone() {
        Subject::Key { .. } => Subject::Key { key: id },
        Subject::Usage { .. } => Subject::Usage { key: id },
        Subject::ModelUsage { model, .. } => Subject::ModelUsage { key: id, model },
        Subject::Project { .. } => Subject::Project { project },
        Subject::Model { model, .. } => Subject::Model { project, model },
        Subject::Limits { model, .. } => Subject::Limits { project, model },
        Subject::Tool { tool, .. } => Subject::Tool { project, tool },
        of_no_key @ Subject::Breaker { .. } => of_no_key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use keypool::KeySpec;

    type Present = &'static [(&'static str, Option<&'static str>, &'static str)];

    /// Keys by name, label and secret.
    fn ring(keys: &[(&str, Option<&str>, &str)]) -> KeyRing {
        let spec = |(id, project, secret): &(&str, Option<&str>, &str)| {
            let project = project.map(Project::from);
            (KeySpec { project, ..KeySpec::new(*id) }, Secret::new(format!("AIza-{secret}")))
        };
        KeyRing::new(keys.iter().map(spec).collect()).unwrap()
    }

    fn disabled(subject: Subject) -> Record {
        Record { disabled: true, ..Record::clear(subject) }
    }

    fn of(owner: Owner) -> Subject {
        Subject::Model { project: owner, model: Some("m".into()) }
    }

    #[test]
    fn a_row_follows_its_key_to_another_label_and_its_project_to_another_label() {
        let key = |id: &str| Subject::Key { key: id.into() };
        let (alone, team) = (Owner::Key("a".into()), Owner::Project("team".into()));
        let former = ring(&[("a", None, "1"), ("b", Some("team"), "2"), ("c", Some("team"), "3")]);
        let cases: [(Subject, Present, Option<Subject>); 9] = [
            (key("a"), &[("a", None, "1")], Some(key("a"))),
            (key("a"), &[("x", None, "1")], Some(key("x"))),
            (key("a"), &[("a", None, "other")], None),
            // Two that have swapped their labels.
            (key("a"), &[("a", None, "2"), ("b", None, "1")], Some(key("b"))),
            (of(alone.clone()), &[("x", None, "1")], Some(of(Owner::Key("x".into())))),
            (of(alone), &[("a", Some("team"), "1")], Some(of(team.clone()))),
            // One of its keys has gone elsewhere; then both have.
            (of(team.clone()), &[("b", Some("q"), "2"), ("c", Some("team"), "3")], Some(of(team.clone()))),
            (
                of(team.clone()),
                &[("b", Some("q"), "2"), ("c", Some("q"), "3")],
                Some(of(Owner::Project("q".into()))),
            ),
            (of(team), &[("b", None, "2"), ("c", None, "3")], Some(of(Owner::Key("b".into())))),
        ];
        for (subject, present, expected) in cases {
            let Some(Change::Put(row)) = encode(&disabled(subject.clone()), &former) else { panic!() };
            let found = match decode(&row, &ring(present)) {
                Some(KeptRow::Moved { record, former }) => {
                    assert_eq!((former, record.disabled), (subject, true));
                    Some(record.subject)
                }
                Some(KeptRow::Same(record)) => {
                    assert_eq!(record.subject, subject);
                    Some(subject)
                }
                None => None,
            };
            assert_eq!(found, expected, "{present:?}");
        }
    }
}
