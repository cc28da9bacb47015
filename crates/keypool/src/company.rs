//! Whether a pool shares its projects with those of other nodes, and whether it can speak with them. The owner of the pool
//! finds out and says so; what follows from it is said where it matters: in what is told, probed, counted and judged.

/// How a pool stands to the pools of other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Company {
    /// There are no others: nothing is told, and all limits are this pool's.
    #[default]
    None,
    /// Others share its projects, and hear and answer.
    Together,
    /// Others share its projects, and cannot be asked now.
    Alone,
}

impl Company {
    /// Says whether others share this pool's projects, heard or not.
    pub(crate) fn is_shared(self) -> bool {
        self != Self::None
    }
}
