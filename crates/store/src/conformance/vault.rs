//! The rules every implementation of [`Vault`] keeps.

use crate::vault::{KeptKey, MAX_KEPT_KEYS, Vault, VaultError};
use chrono::DateTime;

/// Where keys are kept, from which they can be opened again and again.
pub trait VaultPlace {
    /// A handle on them.
    type Vault: Vault;

    /// Opens one more handle. The place was empty when the first one was opened.
    fn open(&self) -> Self::Vault;
}

/// Holds an implementation against every rule.
pub fn vault<P: VaultPlace>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 5] = [
        an_empty_vault_has_no_keys,
        keys_come_back_as_they_were_put_and_in_their_order,
        texts_come_back_as_they_are,
        what_was_put_is_there_for_the_next_handle,
        there_is_a_bound,
    ];
    for rule in rules {
        rule(&new_place());
    }
}

fn key(n: usize) -> KeptKey {
    KeptKey {
        secret: format!("AIza-{n:08}").into(),
        label: n.is_multiple_of(2).then(|| format!("label {n}")),
        project: n.is_multiple_of(3).then(|| format!("project {n}")),
        weight: u32::try_from(n % 7).expect("a small number") + 1,
        added: DateTime::from_timestamp(1_767_225_600 + i64::try_from(n).expect("a small number"), 0)
            .expect("a time"),
    }
}

fn keys(count: usize) -> Vec<KeptKey> {
    (0..count).map(key).collect()
}

fn replace(vault: &mut impl Vault, keys: &[KeptKey]) {
    vault.replace(keys).expect("keys are put");
}

fn load(vault: &mut impl Vault) -> Vec<KeptKey> {
    vault.load().expect("the keys load")
}

fn an_empty_vault_has_no_keys(place: &impl VaultPlace) {
    let mut vault = place.open();
    assert_eq!(load(&mut vault), []);
    replace(&mut vault, &[]);
    assert_eq!(load(&mut vault), []);
}

fn keys_come_back_as_they_were_put_and_in_their_order(place: &impl VaultPlace) {
    let mut vault = place.open();
    let mut all = keys(100);
    replace(&mut vault, &all);
    assert_eq!(load(&mut vault), all);
    all.reverse();
    all.remove(7);
    all[3].label = Some("another".to_owned());
    replace(&mut vault, &all);
    assert_eq!(load(&mut vault), all);
    replace(&mut vault, &[]);
    assert_eq!(load(&mut vault), []);
}

fn texts_come_back_as_they_are(place: &impl VaultPlace) {
    let mut vault = place.open();
    let texts = [
        "",
        "\"quoted\" \\ back",
        "two\nlines\r\n",
        "nul\0",
        "\u{feff}🔑 ключ 鍵\u{10ffff}",
        "]}",
        "{\"a\":1}",
    ];
    let all: Vec<_> = texts
        .iter()
        .map(|text| KeptKey {
            secret: (*text).to_owned().into(),
            label: Some((*text).to_owned()),
            project: Some((*text).to_owned()),
            ..key(1)
        })
        .collect();
    replace(&mut vault, &all);
    assert_eq!(load(&mut vault), all);
}

fn what_was_put_is_there_for_the_next_handle(place: &impl VaultPlace) {
    let mut vault = place.open();
    for count in [1, 5, 10_000, 3] {
        replace(&mut vault, &keys(count));
        assert!(load(&mut place.open()) == keys(count), "{count} keys come back");
    }
}

fn there_is_a_bound(place: &impl VaultPlace) {
    let mut vault = place.open();
    replace(&mut vault, &keys(2));
    let refused = vault.replace(&keys(MAX_KEPT_KEYS + 1));
    assert!(matches!(refused, Err(VaultError::TooMany)), "{refused:?}");
    assert_eq!(load(&mut vault), keys(2));
}
