//! Whether the gateways of a cluster have the same settings. Each says in its beat what its own come to, a few letters for each
//! part, so that one that was forgotten in a change is named with what differs; no setting itself is told.

use super::KnownCompany;
use crate::key_ring::KeyRing;
use gemini_balance_cluster::{ClusterMember, NodeId};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long settings may differ: a change reaches the gateways one by one.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the settings come to, part by part: `keys:1a2b3c4d limits:...`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsPrint(BTreeMap<String, String>);

impl SettingsPrint {
    /// Takes the parts by their names, each with what tells it from others: no secret, and no spaces or colons in either.
    pub fn new(parts: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(parts.into_iter().map(|(part, print)| (part.to_owned(), print)).collect())
    }

    /// Returns the same with one part more.
    pub(super) fn with(&self, part: &str, print: &str) -> Self {
        let mut parts = self.0.clone();
        parts.insert(part.to_owned(), print.to_owned());
        Self(parts)
    }

    fn parse(text: &str) -> Self {
        let parts = text.split(' ').filter_map(|part| part.split_once(':'));
        Self(parts.map(|(part, print)| (part.to_owned(), print.to_owned())).collect())
    }

    /// Names the parts that are not the same in both.
    fn differing(&self, other: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        names.into_iter().filter(|part| self.0.get(*part) != other.0.get(*part)).cloned().collect()
    }
}

impl fmt::Display for SettingsPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (part, print)) in self.0.iter().enumerate() {
            write!(f, "{}{part}:{print}", if place == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// Names the parts in which a member's settings differ from those of another.
pub(super) fn differing(one: &ClusterMember, other: &ClusterMember) -> Vec<String> {
    SettingsPrint::parse(&one.beat.settings).differing(&SettingsPrint::parse(&other.beat.settings))
}

/// What the keys come to, those that were added at runtime included: which they are, and of which projects. What people call
/// them does not count. Made anew only for another ring, since it is asked for each second.
#[derive(Default)]
pub(super) struct KeysPrint {
    of: Option<(Arc<KeyRing>, String)>,
}

impl KeysPrint {
    /// Returns the part of a [`SettingsPrint`] that speaks of the keys.
    pub(super) fn of(&mut self, ring: Arc<KeyRing>) -> &str {
        if self.of.as_ref().is_none_or(|(known, _)| !Arc::ptr_eq(known, &ring)) {
            let keys = ring.keys().iter().map(|key| (key.fingerprint(), key.project().unwrap_or_default()));
            let print = keys_print(keys.collect());
            self.of = Some((ring, print));
        }
        self.of.as_ref().map_or("", |(_, print)| print)
    }
}

/// Takes fingerprints with the labels of their projects, in any order.
fn keys_print(mut keys: Vec<(&str, &str)>) -> String {
    keys.sort_unstable();
    let mut digest = Sha256::new();
    for (fingerprint, project) in keys {
        digest.update(format!("{fingerprint}={project};"));
    }
    let mut text = String::from("keys:");
    for byte in &digest.finalize()[..4] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// How settings agree, where that is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// They do again.
    Back,
    /// They have not for so long that it is to be said.
    Lost(String),
}

/// Looks whether all agree. `None` where there is nothing to say, or it was said.
pub(super) fn look(company: &mut KnownCompany, me: &NodeId) -> Option<Agreement> {
    let Some(reason) = complaint(&company.members, me) else {
        company.differs_since = None;
        return company.complaint.take().map(|_| Agreement::Back);
    };
    let since = *company.differs_since.get_or_insert_with(Instant::now);
    if since.elapsed() < PATIENCE || company.complaint.as_ref() == Some(&reason) {
        return None;
    }
    company.complaint = Some(reason.clone());
    Some(Agreement::Lost(reason))
}

fn complaint(members: &[ClusterMember], me: &NodeId) -> Option<String> {
    let own = members.iter().find(|member| member.node == *me)?;
    let others = members.iter().filter(|member| member.is_there() && member.node != *me);
    let differ = others.filter_map(|other| {
        let parts = differing(own, other);
        (!parts.is_empty()).then(|| format!("{} ({})", other.beat.name, parts.join(", ")))
    });
    let differ: Vec<_> = differ.collect();
    (!differ.is_empty()).then(|| format!("the settings differ from those of {}", differ.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gemini_balance_cluster::Beat;

    fn member(name: &str, settings: &str) -> ClusterMember {
        let beat = Beat { name: name.to_owned(), settings: settings.to_owned(), ..Beat::default() };
        ClusterMember { node: NodeId::new(&format!("{name}.0")).unwrap(), silent_for: Duration::ZERO, beat }
    }

    #[test]
    fn the_same_keys_come_to_the_same_in_any_order() {
        let (a, b) = (("key-a", "p"), ("key-b", ""));
        let print = keys_print(vec![a, b]);
        assert_eq!(keys_print(vec![b, a]), print);
        assert!(print.starts_with("keys:") && print.len() == 13, "{print}");
        for others in [vec![a], vec![a, b, b], vec![a, ("key-b", "q")], vec![]] {
            assert_ne!(keys_print(others), print);
        }
    }

    #[test]
    fn what_differs_is_named_by_gateway_and_part() {
        let print = SettingsPrint::new([("keys", "aa".to_owned()), ("limits", "bb".to_owned())]);
        assert_eq!(SettingsPrint::parse(&print.to_string()), print);
        let me = NodeId::new("one.0").unwrap();
        let same = [member("one", "keys:aa limits:bb"), member("two", "keys:aa limits:bb")];
        assert_eq!(complaint(&same, &me), None);
        let differ = [
            member("one", "keys:aa limits:bb"),
            member("two", "keys:ab limits:bb"),
            member("three", "limits:bc"),
        ];
        assert_eq!(
            complaint(&differ, &me).unwrap(),
            "the settings differ from those of two (keys), three (keys, limits)"
        );
    }
}
