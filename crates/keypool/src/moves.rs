//! Where the keys of one set are in the next. Places are good for one set only; whatever is kept by a key's place moves
//! with it, and what was kept of keys that are gone is dropped.

use crate::ids::KeyIx;

/// From the places of the former set to those of the present one, and back.
#[derive(Debug)]
pub(crate) struct Moves {
    /// By former place; `None` for a key that is gone.
    to: Vec<Option<KeyIx>>,
    /// By present place; `None` for a key that is new.
    from: Vec<Option<KeyIx>>,
}

impl Moves {
    /// Makes the moves from a set of so many keys. `from` has the former place of each present key.
    pub(crate) fn new(former: usize, from: Vec<Option<KeyIx>>) -> Self {
        let mut to = vec![None; former];
        for (at, from) in from.iter().enumerate() {
            if let Some(from) = from {
                to[from.position()] = Some(KeyIx::at(at));
            }
        }
        Self { to, from }
    }

    /// Returns the present place of a key of the former set, if it is still there.
    pub(crate) fn of(&self, former: KeyIx) -> Option<KeyIx> {
        self.to.get(former.position()).copied().flatten()
    }

    /// Returns the former place of each present key.
    pub(crate) fn from(&self) -> impl Iterator<Item = (KeyIx, Option<KeyIx>)> + '_ {
        self.from.iter().enumerate().map(|(at, from)| (KeyIx::at(at), *from))
    }

    /// Returns the former places of the keys that are gone.
    pub(crate) fn gone(&self) -> impl Iterator<Item = KeyIx> + '_ {
        self.to.iter().enumerate().filter(|(_, to)| to.is_none()).map(|(at, _)| KeyIx::at(at))
    }

    /// Moves what is kept by place. Of a new key the default is kept.
    pub(crate) fn carry<T: Default>(&self, former: &mut Vec<T>) {
        let present = self.from.iter().map(|from| {
            from.and_then(|from| former.get_mut(from.position())).map(std::mem::take).unwrap_or_default()
        });
        *former = present.collect();
    }

    /// Moves the position where a round goes on: to the next key of the former order that is still there.
    pub(crate) fn turn(&self, next: usize) -> usize {
        let next = next.min(self.to.len());
        let (before, behind) = self.to.split_at(next);
        behind.iter().chain(before).copied().flatten().next().map_or(0, KeyIx::position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `a b c d` to `d x b`.
    fn moves() -> Moves {
        Moves::new(4, [Some(3), None, Some(1)].map(|from| from.map(KeyIx::at)).into())
    }

    #[test]
    fn what_is_kept_by_place_moves_with_its_key() {
        let mut kept = vec!["a", "b", "c", "d"];
        moves().carry(&mut kept);
        assert_eq!(kept, ["d", "", "b"]);
        assert_eq!(moves().gone().collect::<Vec<_>>(), [0, 2].map(KeyIx::at));
        assert_eq!(moves().of(KeyIx::at(3)), Some(KeyIx::at(0)));
        assert_eq!(moves().of(KeyIx::at(9)), None);
    }

    #[test]
    fn a_round_goes_on_with_the_next_key_that_is_still_there() {
        let turns: Vec<_> = (0..6).map(|next| moves().turn(next)).collect();
        // Of `a` it is `b`'s turn, of `c` it is `d`'s, and behind `d` it begins anew.
        assert_eq!(turns, [2, 2, 0, 0, 2, 2]);
        assert_eq!(Moves::new(2, vec![None]).turn(1), 0);
    }
}
