//! Watches an answer's body as it passes, without changing it: the token usage, the end of the first event, an error
//! event, at the start or later, an error that comes as a success, and the names that the ledger is to know before the
//! client reads them. Where an error is mentioned, the key is kept from passing. Sees through gzip; any other coding passes
//! unseen.

use super::learning::Learner;
use crate::{key_ring::Key, upstream::Coding};
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use gemini::{
    classify::{
        ErrorMentions, ErrorStart, LateError, LateErrors, NamedKeys, Start, StreamError, ends_in_part_of,
        redact_in_place, stream_error,
    },
    events::{FirstEvent, Progress},
    names::{AnswerNames, Learnt},
    usage::{Usage, UsageKey, UsageScanner},
};
use std::{
    io::{self, Write},
    sync::Arc,
};

/// No more than this is decoded of one answer: what comes after passes unseen, so a bomb costs a bounded effort.
const MAX_DECODED: u64 = 256 * 1024 * 1024;

/// A first event longer than this is not waited for.
const MAX_FIRST_EVENT: usize = 256 * 1024;

/// What is watched in the decoded body.
struct Watch {
    /// The names of what the answer has made or found, where it can have any.
    names: Option<Box<AnswerNames>>,
    usage: UsageScanner,
    /// The look at how a document begins, while it is not clear.
    start: Option<ErrorStart>,
    /// The search for the end of the first event, while that is of interest; of a document, once it begins as an error.
    first: Option<First>,
    /// The search for an error behind the first event, of a stream of events.
    late: Option<LateErrors>,
    /// The search for the mention of one anywhere in the body, where that is no stream.
    mentions: Option<ErrorMentions>,
    /// The search for the key in what passes coded, once an error was mentioned.
    leak: Option<Leak>,
    decoded: u64,
}

/// The body up to the end of its first event.
struct First {
    finder: FirstEvent,
    text: Vec<u8>,
    progress: Progress,
}

impl Default for First {
    fn default() -> Self {
        Self { finder: FirstEvent::new(MAX_FIRST_EVENT), text: Vec::new(), progress: Progress::NeedMore }
    }
}

/// What a body is, for what to look for at its start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyContent {
    /// The first event is waited for.
    Events,
    /// One that begins as an error is one.
    Document,
    /// It tells of what was made before, whose errors are not this answer's.
    Story,
    /// Somebody's own bytes.
    File,
}

/// The search for the key in a body that passes coded.
struct Leak {
    key: Arc<Key>,
    named: NamedKeys,
    /// What was seen and has not been released, and a little of what was before it.
    seen: Vec<u8>,
    /// How much of that was released.
    released: usize,
}

impl Leak {
    /// So much of what was released is kept: no key is longer.
    const KEPT: usize = 512;

    fn see(&mut self, bytes: &[u8]) {
        self.seen.drain(..self.released.saturating_sub(Self::KEPT));
        self.released = self.released.min(Self::KEPT);
        self.seen.extend_from_slice(bytes);
    }

    fn release(&mut self, bytes: Bytes, is_last: bool) -> Release {
        let secret = self.key.secret().expose();
        if ends_in_part_of(&self.seen, secret) && !is_last {
            return Release::Hold(bytes);
        }
        self.released = self.seen.len();
        if redact_in_place(&mut self.seen, secret, self.named) {
            Release::Never(bytes)
        } else {
            Release::Pass(bytes)
        }
    }
}

/// What may be done with the next bytes of a body.
pub(super) enum Release {
    /// The client may have these.
    Pass(Bytes),
    /// More must come before it can be known.
    Hold(Bytes),
    /// The key is in there and cannot be taken out as it passes.
    Never(Bytes),
}

/// What a body has said, as far as it came.
pub(super) struct Observed {
    /// What it said was used.
    pub(super) usage: Option<Usage>,
    /// The error that an event after the first stated.
    pub(super) late_error: Option<LateError>,
}

/// The watcher of one body.
pub(super) struct Observer {
    decoding: Decoding,
    /// The key that the request went up with, which must not come down.
    key: Arc<Key>,
    named: NamedKeys,
    /// Takes the names that are found, where there is something to learn.
    learner: Option<Box<Learner>>,
    /// Whether it has taken some of which other gateways may not know yet.
    has_learnt: bool,
}

#[expect(clippy::large_enum_variant, reason = "the observer is boxed, and plain is the common case")]
enum Decoding {
    Plain(Watch),
    Gzip(Box<MultiGzDecoder<Watch>>),
    Closed,
}

impl Observer {
    /// `names` says which names to look for, `usage_key` under which what was used is said.
    pub(super) fn new(
        coding: Coding,
        content: BodyContent,
        names: Option<AnswerNames>,
        usage_key: UsageKey,
        key: Arc<Key>,
    ) -> Self {
        let named = match content {
            BodyContent::Events => NamedKeys::All,
            BodyContent::Document | BodyContent::Story => NamedKeys::Googles,
            BodyContent::File => NamedKeys::None,
        };
        let leak = || Leak { key: Arc::clone(&key), named, seen: Vec::new(), released: 0 };
        let watch = Watch {
            names: names.map(Box::new),
            usage: UsageScanner::new(usage_key),
            start: (content == BodyContent::Document).then(ErrorStart::default),
            first: (content == BodyContent::Events).then(First::default),
            late: None,
            mentions: (content != BodyContent::Events).then(ErrorMentions::default),
            leak: (coding == Coding::Gzip).then(leak),
            decoded: 0,
        };
        let decoding = match coding {
            Coding::Identity => Decoding::Plain(watch),
            Coding::Gzip => Decoding::Gzip(Box::new(MultiGzDecoder::new(watch))),
            Coding::Other => Decoding::Closed,
        };
        Self { decoding, key, named, learner: None, has_learnt: false }
    }

    /// Hands the names found so far, and all that come, to `learner`.
    pub(super) fn teach(&mut self, learner: Box<Learner>) {
        self.learner = Some(learner);
        self.tell_names(AnswerNames::take);
    }

    /// Looks at the next bytes, before the client has them.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        let seen = match &mut self.decoding {
            Decoding::Plain(watch) => watch.write_all(bytes),
            Decoding::Gzip(decoder) => decoder.write_all(bytes).and_then(|()| decoder.flush()),
            Decoding::Closed => Ok(()),
        };
        if seen.is_err() {
            self.decoding = Decoding::Closed; // not what it says it is: the client will see, too
        }
        self.tell_names(AnswerNames::take);
    }

    /// Says what the body has said. To be called once it has ended or broken off, before the client has its last bytes:
    /// the end brings names of its own.
    pub(super) fn end(&mut self) -> Observed {
        if let Decoding::Gzip(decoder) = &mut self.decoding {
            let _ = decoder.try_finish();
        }
        self.tell_names(AnswerNames::finish);
        match self.watch_mut() {
            Some(watch) => Observed {
                usage: watch.usage.finish(),
                late_error: watch.late.as_mut().and_then(LateErrors::take),
            },
            None => Observed { usage: None, late_error: None },
        }
    }

    fn tell_names(&mut self, found: fn(&mut AnswerNames) -> Vec<Learnt>) {
        let Self { decoding, learner: Some(learner), has_learnt, .. } = self else { return };
        let names = match decoding {
            Decoding::Plain(watch) => &mut watch.names,
            Decoding::Gzip(decoder) => &mut decoder.get_mut().names,
            Decoding::Closed => return,
        };
        if let Some(names) = names {
            let found = found(names);
            *has_learnt |= !found.is_empty();
            learner.keep(found);
        }
    }

    /// Tells whether names have come of which others should know before the client has them.
    pub(super) fn has_learnt(&self) -> bool {
        self.has_learnt
    }

    /// Waits, for a short while, until they know.
    pub(super) async fn let_others_know(&mut self) {
        self.has_learnt = false;
        if let Some(learner) = &self.learner {
            learner.let_others_know().await;
        }
    }

    /// Whether what has come is the beginning of an error, though the status says success.
    pub(super) fn begins_as_error(&self) -> bool {
        self.watch().is_some_and(|watch| watch.first.is_some())
    }

    /// Whether there is no reason to hold the head any longer.
    pub(super) fn first_event_is_here(&self) -> bool {
        self.watch()
            .is_none_or(|watch| watch.first.as_ref().is_none_or(|first| first.progress != Progress::NeedMore))
    }

    /// The error that the first event states.
    pub(super) fn first_event_error(&self) -> Option<StreamError<'_>> {
        stream_error(&self.watch()?.first.as_ref()?.text)
    }

    /// Whether some of an event is there, and not comments only.
    pub(super) fn first_event_has_begun(&self) -> bool {
        self.watch().is_none_or(|watch| watch.first.as_ref().is_none_or(|first| first.finder.has_begun()))
    }

    /// Ends the search for the first event. What came with it is looked at as all that follows.
    pub(super) fn forget_first_event(&mut self) {
        let Some(first) = self.watch_mut().and_then(|watch| watch.first.take()) else { return };
        let end = match first.progress {
            Progress::Complete { end } => end.min(first.text.len()),
            Progress::NeedMore | Progress::TooLong => 0,
        };
        self.look_for_late_errors(&first.text, end);
    }

    /// Has a document that began as an error, and was not held to its end, looked through as it passes. To be called
    /// before its bytes are released.
    pub(super) fn let_document_pass(&mut self) {
        let Some(first) = self.watch_mut().and_then(|watch| watch.first.take()) else { return };
        self.look_for_late_errors(&first.text, 0);
    }

    /// `text` is all that came so far, and an error up to `end` is no business of the search.
    fn look_for_late_errors(&mut self, text: &[u8], end: usize) {
        let Some(watch) = self.watch_mut() else { return };
        let (event, more) = text.split_at(end);
        let is_new = !watch.mentions_error();
        let late = watch.late.insert(LateErrors::after(event));
        late.see(more);
        // What was mentioned before was looked through as it came.
        if is_new {
            watch.look_for_leaks(more);
        }
    }

    /// Whether the body has mentioned an error, after its first event if it has any. What passes then must be released.
    pub(super) fn mentions_error(&self) -> bool {
        self.watch().is_some_and(Watch::mentions_error)
    }

    /// Says what may be done with the next bytes, all of which were seen. `is_last` says that no more will come.
    pub(super) fn release(&mut self, bytes: Bytes, is_last: bool) -> Release {
        if !self.mentions_error() {
            return Release::Pass(bytes);
        }
        if let Some(leak) = self.watch_mut().and_then(|watch| watch.leak.as_mut()) {
            return leak.release(bytes, is_last);
        }
        let secret = self.key.secret().expose();
        if ends_in_part_of(&bytes, secret) && !is_last {
            return Release::Hold(bytes);
        }
        let mut clear = bytes.to_vec();
        if redact_in_place(&mut clear, secret, self.named) {
            Release::Pass(clear.into())
        } else {
            Release::Pass(bytes)
        }
    }

    fn watch_mut(&mut self) -> Option<&mut Watch> {
        match &mut self.decoding {
            Decoding::Plain(watch) => Some(watch),
            Decoding::Gzip(decoder) => Some(decoder.get_mut()),
            Decoding::Closed => None,
        }
    }

    fn watch(&self) -> Option<&Watch> {
        match &self.decoding {
            Decoding::Plain(watch) => Some(watch),
            Decoding::Gzip(decoder) => Some(decoder.get_ref()),
            Decoding::Closed => None,
        }
    }
}

impl First {
    fn see(&mut self, bytes: &[u8]) {
        if self.progress == Progress::NeedMore {
            self.text.extend_from_slice(bytes);
            self.progress = self.finder.push(bytes);
        }
    }
}

impl Watch {
    fn mentions_error(&self) -> bool {
        self.late.as_ref().is_some_and(LateErrors::is_mentioned)
            || self.mentions.as_ref().is_some_and(ErrorMentions::is_found)
    }

    fn look_for_leaks(&mut self, bytes: &[u8]) {
        if self.mentions_error()
            && let Some(leak) = &mut self.leak
        {
            leak.see(bytes);
        }
    }
}

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.decoded += bytes.len() as u64;
        if self.decoded > MAX_DECODED {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Some(start) = &mut self.start {
            match start.see(bytes) {
                Start::Unclear => {}
                Start::Other => self.start = None,
                Start::Error(seen) => {
                    self.start = None;
                    self.first.get_or_insert_default().see(&seen);
                }
            }
        }
        if let Some(first) = &mut self.first {
            first.see(bytes);
        }
        if let Some(late) = &mut self.late {
            late.see(bytes);
        }
        if let Some(mentions) = &mut self.mentions {
            mentions.see(bytes);
        }
        self.look_for_leaks(bytes);
        if let Some(names) = &mut self.names {
            names.see(bytes);
        }
        self.usage.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
