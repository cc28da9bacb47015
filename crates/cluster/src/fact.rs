//! Facts: what one node has learnt and all are to know. What they mean is their tellers' affair; here they have a subject
//! that is replaced whole, a rank by which the weightier of two wins, and a place in the one order.

use std::{error, fmt, str::FromStr};

use crate::node::NodeId;

/// The longest subject, in bytes.
const MAX_SUBJECT: usize = 1 << 10;
/// The longest body, in bytes.
const MAX_BODY: usize = 64 << 10;

/// A fact. Its subject and body hold no secret: they go to whoever may read the shared state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    subject: Box<str>,
    rank: u64,
    body: Box<str>,
    origin: NodeId,
}

/// The subject is empty or longer than 1 KiB, or the body longer than 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFact;

impl fmt::Display for BadFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fact has a subject of 1 to 1,024 bytes and a body of at most 65,536")
    }
}

impl error::Error for BadFact {}

impl Fact {
    /// Makes a fact that `origin` tells. Of two that did not know of each other the one with the higher rank holds. An empty
    /// body says that there is nothing to know of the subject any more: it is kept for an hour, so that whoever was away
    /// hears of it too.
    pub fn new(subject: &str, rank: u64, body: &str, origin: NodeId) -> Result<Self, BadFact> {
        if subject.is_empty() || subject.len() > MAX_SUBJECT || body.len() > MAX_BODY {
            return Err(BadFact);
        }
        Ok(Self { subject: subject.into(), rank, body: body.into(), origin })
    }

    /// Returns what it is about.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns its weight.
    pub fn rank(&self) -> u64 {
        self.rank
    }

    /// Returns what it says.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Returns who told it.
    pub fn origin(&self) -> &NodeId {
        &self.origin
    }
}

/// The place of a fact in the order of all facts: a moment of the shared clock, and a number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactId {
    /// Milliseconds since 1970.
    pub ms: u64,
    /// Which of this millisecond's.
    pub seq: u64,
}

impl FactId {
    /// Before all facts.
    pub const START: Self = Self { ms: 0, seq: 0 };
}

impl fmt::Display for FactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for FactId {
    type Err = BadFact;

    fn from_str(text: &str) -> Result<Self, BadFact> {
        let (ms, seq) = text.split_once('-').ok_or(BadFact)?;
        Ok(Self { ms: ms.parse().map_err(|_| BadFact)?, seq: seq.parse().map_err(|_| BadFact)? })
    }
}

/// A fact with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedFact {
    /// Where it stands in the order.
    pub id: FactId,
    /// What was told.
    pub fact: Fact,
}

impl PlacedFact {
    /// Reads what the shared state holds of a subject: `ID RANK ORIGIN BODY`. Public, as its sibling, for the crate that feeds it anything.
    #[doc(hidden)]
    pub fn held(subject: &str, value: &str) -> Option<Self> {
        let mut parts = value.splitn(4, ' ');
        let (id, rank, origin, body) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Self::read(id, subject, rank, origin, body)
    }

    /// Reads an entry of the stream; fields of later versions are passed over.
    #[doc(hidden)]
    pub fn of_entry(id: &str, fields: &[String]) -> Option<Self> {
        let field =
            |name: &str| fields.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_str());
        Self::read(id, field("s")?, field("r")?, field("o")?, field("b")?)
    }

    fn read(id: &str, subject: &str, rank: &str, origin: &str, body: &str) -> Option<Self> {
        let origin = NodeId::new(origin).ok()?;
        let fact = Fact::new(subject, rank.parse().ok()?, body, origin).ok()?;
        Some(Self { id: id.parse().ok()?, fact })
    }
}

/// What became of a fact that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TellReply {
    /// It holds, and every reader will meet it at this place.
    Written(FactId),
    /// It does not: its teller had not heard of this one, which weighs as much or more. The teller adopts it.
    Overruled(PlacedFact),
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// What comes next, in order; empty if nothing has come in the time.
    Facts(Vec<PlacedFact>),
    /// What comes next is not known any more: read everything anew.
    Trimmed,
}

/// All that holds, and from where to read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFacts {
    /// The last one told of each subject, in no order.
    pub facts: Vec<PlacedFact>,
    /// The place up to which they are included.
    pub end: FactId,
}
