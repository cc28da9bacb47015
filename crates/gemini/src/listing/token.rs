//! The continuation that a client carries from page to page: where each project's list stands. Nothing in it is secret
//! (Google gives the tokens within it to any caller of its list), and a caller that forges one only lists what it may
//! see; the checksum tells a token of another list, or one that was cut or changed, from one of ours.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use twox_hash::XxHash3_64;

use super::mark::{MARK_BYTES, Mark};
use super::request::MOST_ASKED;

const VERSION: u8 = 1;
/// Version and checksum.
const HEAD: usize = 1 + 8;
/// As base64 this is 6 KiB, which leaves room in the longest target that is taken
/// ([`MAX_TARGET_BYTES`](crate::path::MAX_TARGET_BYTES)).
const MAX_BYTES: usize = 4608;
/// The kinds of base64 that a project's own token may be; it is carried decoded, a quarter shorter.
const KINDS: [&GeneralPurpose; 4] = [&URL_SAFE_NO_PAD, &URL_SAFE, &STANDARD_NO_PAD, &STANDARD];
/// What stands instead of a kind: no token, the token as text, the list's end.
const FIRST: u8 = 0x10;
const TEXT: u8 = 0x11;
const ENDED: u8 = 0x12;

/// Where all lists stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// How many items each project is asked for: a project's token may be good for this size only.
    pub(super) share: usize,
    pub(super) positions: Vec<(Mark, Position)>,
}

/// Where one project's list stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Ended,
    At {
        /// The token of the page that holds the last item taken; `None` is the first page.
        page: Option<Arc<str>>,
        /// The last items taken, oldest first.
        marks: Vec<Mark>,
    },
}

impl Token {
    /// As text for a URL. The oldest marks are left out where it would grow too long: they matter only when all later
    /// ones have been deleted. The projects' own tokens are never left out.
    pub(super) fn encode(&self, binding: u64) -> String {
        let mut fixed = HEAD + 1;
        let mut open = 0;
        for (_, position) in &self.positions {
            fixed += MARK_BYTES + 1;
            if let Position::At { page, .. } = position {
                // A kind, and at most two bytes for each length.
                fixed += 2 + page.as_ref().map_or(0, |page| page.len() + 2);
                open += 1;
            }
        }
        let each = (MAX_BYTES.saturating_sub(fixed) / MARK_BYTES / open.max(1)).clamp(1, MOST_ASKED);

        let mut bytes = vec![VERSION; HEAD];
        bytes.push(u8::try_from(self.share).unwrap_or(u8::MAX));
        for (tag, position) in &self.positions {
            bytes.extend_from_slice(&tag.0);
            let Position::At { page, marks } = position else {
                bytes.push(ENDED);
                continue;
            };
            push_page(&mut bytes, page.as_deref());
            let marks = &marks[marks.len().saturating_sub(each)..];
            push_len(&mut bytes, marks.len());
            bytes.extend(marks.iter().flat_map(|mark| mark.0));
        }
        let sum = checksum(binding, &bytes);
        bytes[1..HEAD].copy_from_slice(&sum.to_le_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` of what [`Token::encode`] did not make for this list.
    pub(super) fn decode(text: &str, binding: u64) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut rest = Reader(bytes.get(HEAD..)?);
        let sum: [u8; 8] = bytes[1..HEAD].try_into().ok()?;
        if bytes[0] != VERSION || checksum(binding, &bytes) != u64::from_le_bytes(sum) {
            return None;
        }
        let share = usize::from(rest.byte()?);
        if !(1..=MOST_ASKED).contains(&share) {
            return None;
        }
        let mut positions = Vec::new();
        while !rest.0.is_empty() {
            let tag = rest.mark()?;
            let page = match rest.byte()? {
                ENDED => {
                    positions.push((tag, Position::Ended));
                    continue;
                }
                FIRST => None,
                kind => Some(rest.page(kind)?),
            };
            let count = rest.len()?;
            // Counted by what is there, before room is made for it.
            let marks = (0..count).map(|_| rest.mark()).collect::<Option<Vec<_>>>()?;
            positions.push((tag, Position::At { page, marks }));
        }
        Some(Self { share, positions })
    }
}

fn checksum(binding: u64, bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(binding ^ u64::from(VERSION), &bytes[HEAD..])
}

fn push_page(bytes: &mut Vec<u8>, page: Option<&str>) {
    let Some(page) = page else {
        bytes.push(FIRST);
        return;
    };
    let packed = KINDS.iter().zip(0_u8..).find_map(|(base64, kind)| {
        let decoded = base64.decode(page).ok()?;
        (base64.encode(&decoded) == page).then_some((kind, decoded))
    });
    let (kind, text) = packed.unwrap_or_else(|| (TEXT, page.as_bytes().to_vec()));
    bytes.push(kind);
    push_len(bytes, text.len());
    bytes.extend_from_slice(&text);
}

/// Seven bits a byte, the lowest first.
fn push_len(bytes: &mut Vec<u8>, mut len: usize) {
    loop {
        let low = u8::try_from(len & 0x7f).unwrap_or_default();
        len >>= 7;
        bytes.push(if len == 0 { low } else { low | 0x80 });
        if len == 0 {
            return;
        }
    }
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn mark(&mut self) -> Option<Mark> {
        self.take(MARK_BYTES)?.try_into().ok().map(Mark)
    }

    fn len(&mut self) -> Option<usize> {
        let mut len = 0;
        for shift in [0, 7, 14] {
            let byte = self.byte()?;
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(len);
            }
        }
        None
    }

    fn page(&mut self, kind: u8) -> Option<Arc<str>> {
        let len = self.len()?;
        let bytes = self.take(len)?;
        if kind == TEXT {
            return std::str::from_utf8(bytes).ok().map(Arc::from);
        }
        KINDS.get(usize::from(kind)).map(|base64| base64.encode(bytes).into())
    }
}
