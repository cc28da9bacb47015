//! One pass over JSON that comes in chunks, cut anywhere: it tells a reader of every key and of every string under the
//! keys that the reader asks for, and passes over the rest. It keeps its place in a list, so depth costs no stack, and
//! of the text only a string that the reader wants and a chunk's end cuts. What is not JSON is passed over as well.

use std::borrow::Cow;

use memchr::memchr;

use super::MAX_NAME_BYTES;

/// What reads a walk. `Place` is what a value stands for by the keys that lead to it; an array's elements stand for what
/// the array does.
pub(super) trait Reader {
    type Place: Copy;

    /// The place of a document itself.
    const TOP: Self::Place;
    /// How many objects and arrays inside each other are looked into.
    const MAX_DEPTH: usize;

    /// The place of the value under a key of an object; `None` to pass over it.
    fn under(&self, place: Self::Place, key: &[u8]) -> Option<Self::Place>;

    /// Whether strings count there.
    fn reads(&self, place: Self::Place) -> bool;

    /// A string there, for which it `reads`.
    fn string(&mut self, place: Self::Place, text: &str);

    /// An object or array begins there. What it stands for itself; `None` to pass over it.
    fn opened(&mut self, place: Self::Place, kind: Kind) -> Option<Self::Place>;

    /// One that was looked into is over.
    fn closed(&mut self, kind: Kind);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
}

/// Where a walk is.
#[derive(Debug)]
pub(super) struct Walk<P> {
    /// The open objects and arrays that are looked into.
    open: Vec<(P, Kind)>,
    /// How many are open below them that are not.
    passed: usize,
    next: Next<P>,
    string: Option<Cut>,
    /// The beginning of the string that a chunk's end cuts, if it is wanted.
    held: Vec<u8>,
    #[cfg(test)]
    pub(super) visited: usize,
}

/// What the next string or opening is.
#[derive(Clone, Copy, Debug)]
enum Next<P> {
    Key,
    Value(P),
    Passed,
}

/// The string that the walk is in.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    /// The backslashes at the end of the chunk before are odd in number: they escape what follows.
    escaped: bool,
    /// It is too long to be held.
    too_long: bool,
}

impl<P: Copy> Walk<P> {
    /// At the start of a body whose documents are at `top`.
    pub(super) fn new(top: P) -> Self {
        Self {
            open: Vec::new(),
            passed: 0,
            next: Next::Value(top),
            string: None,
            held: Vec::new(),
            #[cfg(test)]
            visited: 0,
        }
    }

    /// Gives up the document that goes on, if one does.
    pub(super) fn restart<R: Reader<Place = P>>(&mut self, reader: &mut R) {
        while let Some((_, kind)) = self.open.pop() {
            reader.closed(kind);
        }
        self.passed = 0;
        self.next = Next::Value(R::TOP);
        self.string = None;
        self.held.clear();
    }

    /// The next bytes.
    pub(super) fn push<R: Reader<Place = P>>(&mut self, chunk: &[u8], reader: &mut R) {
        let mut at = 0;
        while at < chunk.len() {
            if let Some(cut) = self.string {
                at += self.string(&chunk[at..], cut, reader);
                continue;
            }
            self.visit(1);
            match chunk[at] {
                b'"' => self.string = Some(Cut::default()),
                b'{' => self.open(Kind::Object, reader),
                b'[' => self.open(Kind::Array, reader),
                b'}' | b']' => self.close(reader),
                b',' if self.passed == 0 => self.next = self.first::<R>(),
                _ => {}
            }
            at += 1;
        }
    }

    /// What stands first in the innermost that is open, and after each comma.
    fn first<R: Reader<Place = P>>(&self) -> Next<P> {
        match self.open.last() {
            None => Next::Value(R::TOP),
            Some((_, Kind::Object)) => Next::Key,
            Some(&(place, Kind::Array)) => Next::Value(place),
        }
    }

    fn open<R: Reader<Place = P>>(&mut self, kind: Kind, reader: &mut R) {
        let place = match self.next {
            Next::Value(place) if self.passed == 0 && self.open.len() < R::MAX_DEPTH => {
                reader.opened(place, kind)
            }
            _ => None,
        };
        if let Some(place) = place {
            self.open.push((place, kind));
            self.next = self.first::<R>();
        } else {
            self.passed += 1;
        }
    }

    fn close<R: Reader<Place = P>>(&mut self, reader: &mut R) {
        if self.passed > 0 {
            self.passed -= 1;
            return;
        }
        if let Some((_, kind)) = self.open.pop() {
            reader.closed(kind);
        }
        self.next = if self.open.is_empty() { Next::Value(R::TOP) } else { Next::Passed };
    }

    /// Reads on in a string, whose next bytes these are. How many of them were taken.
    fn string<R: Reader<Place = P>>(&mut self, bytes: &[u8], mut cut: Cut, reader: &mut R) -> usize {
        let wanted = self.passed == 0
            && match self.next {
                Next::Key => true,
                Next::Value(place) => reader.reads(place),
                Next::Passed => false,
            };
        let end = self.end(bytes, &mut cut.escaped);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        cut.too_long |= wanted && self.held.len() + piece.len() > MAX_NAME_BYTES;
        let Some(end) = end else {
            if wanted && !cut.too_long {
                self.held.extend_from_slice(piece);
            }
            self.string = Some(cut);
            return bytes.len();
        };
        self.string = None;
        if wanted {
            let mut held = std::mem::take(&mut self.held);
            let raw = match (cut.too_long, held.is_empty()) {
                (true, _) => None,
                (false, true) => Some(piece),
                (false, false) => {
                    held.extend_from_slice(piece);
                    Some(&*held)
                }
            };
            self.read(raw, reader);
            held.clear();
            self.held = held;
        }
        end + 1
    }

    /// A string that is wanted, as it is written; `None` of one that is too long.
    fn read<R: Reader<Place = P>>(&mut self, raw: Option<&[u8]>, reader: &mut R) {
        let raw = raw.unwrap_or_default();
        self.visit(raw.len());
        let text = text(raw);
        match (self.next, self.open.last()) {
            (Next::Key, Some(&(place, _))) => {
                let key = text.as_deref().unwrap_or_default();
                self.next = reader.under(place, key).map_or(Next::Passed, Next::Value);
            }
            (Next::Value(place), _) => {
                if let Some(Ok(text)) = text.as_deref().map(std::str::from_utf8) {
                    reader.string(place, text);
                }
            }
            _ => {}
        }
    }

    /// Where the quote is that ends a string. Looks for quotes alone and counts the backslashes before each: a text full
    /// of escapes is no slower for them.
    fn end(&mut self, bytes: &[u8], escaped: &mut bool) -> Option<usize> {
        let mut from = 0;
        loop {
            let quote = memchr(b'"', &bytes[from..]).map(|quote| from + quote);
            let piece = &bytes[from..quote.unwrap_or(bytes.len())];
            let backslashes = piece.iter().rev().take_while(|&&byte| byte == b'\\').count();
            self.visit(piece.len() + backslashes + 1);
            // Only those at the very start go on from the chunk before.
            let before = from == 0 && backslashes == piece.len() && *escaped;
            let odd = (backslashes % 2 == 1) != before;
            match quote {
                Some(quote) if odd => from = quote + 1,
                Some(quote) => return Some(quote),
                None => {
                    *escaped = odd;
                    return None;
                }
            }
        }
    }

    /// Counts what a walk looks at, so that its being linear is tested without a clock.
    #[cfg(test)]
    fn visit(&mut self, bytes: usize) {
        self.visited += bytes;
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "only tests count")]
    fn visit(&self, _: usize) {}
}

/// What a string says that is written so; `None` where its escapes are none.
fn text(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr(b'\\', raw).is_none() {
        return Some(Cow::Borrowed(raw));
    }
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).ok().map(|text| Cow::Owned(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks for everything everywhere.
    struct All;

    impl Reader for All {
        type Place = ();

        const TOP: () = ();
        const MAX_DEPTH: usize = usize::MAX;

        fn under(&self, (): (), _: &[u8]) -> Option<()> {
            Some(())
        }

        fn reads(&self, (): ()) -> bool {
            true
        }

        fn string(&mut self, (): (), _: &str) {}

        fn opened(&mut self, (): (), _: Kind) -> Option<()> {
            Some(())
        }

        fn closed(&mut self, _: Kind) {}
    }

    #[test]
    fn a_walk_looks_at_each_byte_a_fixed_number_of_times() {
        for piece in [
            "{",
            "[",
            "]",
            "\"",
            "\\",
            "\\\\\"",
            "\"\\\"",
            "\"\\\\\"",
            "{\"x\":[",
            "{\"a\":\"b\"},",
            "\"\\u0041",
            "\"\\u0041\",",
            "x",
            "\"\"",
            "[\"\\\\\\\"",
            "\r\n",
        ] {
            let body = format!("{{\"x\":\"{}\"", piece.repeat(100_000 / piece.len()));
            for size in [1, 7, 4096, body.len()] {
                for body in [body.as_bytes(), &body.as_bytes()[6..]] {
                    let mut walk = Walk::new(());
                    for chunk in body.chunks(size) {
                        walk.push(chunk, &mut All);
                    }
                    assert!(
                        walk.visited <= 4 * body.len(),
                        "{piece} by {size}: {} of {}",
                        walk.visited,
                        body.len()
                    );
                    assert!(walk.held.capacity() <= 2 * MAX_NAME_BYTES, "{piece} by {size}");
                }
            }
        }
    }
}
