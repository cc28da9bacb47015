//! Where a queue's lines go: a file, or standard output. Lines are put down whole or counted as lost, and a loss is said in
//! the log itself, in the log's own form, as soon as something can be written again.

use super::line;
use crate::settings::LogFormat;
use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What lines are written to.
pub(super) trait Outlet: Write + Send {
    /// Lets go of what is open and opens it anew.
    fn reopen(&mut self) {}

    /// Takes back the last bytes that were written, if that can be done.
    fn take_back(&mut self, _bytes: u64) -> bool {
        false
    }
}

/// Where lines go that nobody wants.
pub(super) struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outlet for Nowhere {}

/// In which form a log says that lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoticeForm {
    /// As a line of the application log.
    Application(LogFormat),
    /// `{"dropped":2993}`, as in logs whose lines are records.
    Record,
}

impl NoticeForm {
    fn line(self, dropped: u64) -> String {
        let said = format!("{dropped} log lines were dropped");
        match self {
            Self::Application(LogFormat::Text) => format!("{} WARN  log: {said}\n", line::timestamp()),
            Self::Application(LogFormat::Json) => format!(
                "{{\"time\":\"{}\",\"level\":\"WARN\",\"target\":\"log\",\"message\":\"{said}\"}}\n",
                line::timestamp()
            ),
            Self::Record => format!("{{\"dropped\":{dropped}}}\n"),
        }
    }
}

/// How many lines all logs have lost since the process began.
#[derive(Clone, Debug, Default)]
pub(super) struct LostLines(Arc<AtomicU64>);

impl LostLines {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Writes lines, and knows what is missing.
pub(super) struct LineWriter {
    out: Box<dyn Outlet>,
    form: NoticeForm,
    /// Lines that could not be written, and were not spoken of yet.
    lost: u64,
    /// What was written last does not end a line.
    is_torn: bool,
    /// All that could not be written, spoken of or not.
    all_lost: LostLines,
}

impl LineWriter {
    pub(super) fn new(out: Box<dyn Outlet>, form: NoticeForm, all_lost: LostLines) -> Self {
        Self { out, form, lost: 0, is_torn: false, all_lost }
    }

    /// Where lines are counted that never come this far.
    pub(super) fn all_lost(&self) -> LostLines {
        self.all_lost.clone()
    }

    /// Whether a loss waits to be spoken of.
    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Writes to another place from now on. What was lost is said there.
    pub(super) fn replace(&mut self, out: Box<dyn Outlet>) {
        self.out = out;
        self.is_torn = false;
    }

    pub(super) fn reopen(&mut self) {
        self.out.reopen();
        self.is_torn = false;
    }

    /// Writes whole lines, and after them that `dropped` more did not come this far. What was lost before is said first.
    pub(super) fn write(&mut self, lines: &[u8], dropped: u64) {
        self.say_lost();
        if self.lost > 0 {
            // It still cannot be written: no line may stand before the notice that some are missing.
            self.all_lost.add(lines_in(lines));
            self.lost += lines_in(lines) + dropped;
            return;
        }
        let unwritten = self.put(lines);
        self.all_lost.add(unwritten);
        self.lost = unwritten + dropped;
        self.say_lost();
    }

    fn say_lost(&mut self) {
        if self.lost > 0 {
            let notice = self.form.line(self.lost);
            if self.put(notice.as_bytes()) == 0 {
                self.lost = 0;
            }
        }
    }

    /// Writes lines; returns how many of them were not written whole.
    fn put(&mut self, lines: &[u8]) -> u64 {
        if lines.is_empty() {
            return 0;
        }
        if self.is_torn {
            if self.out.write_all(b"\n").is_err() {
                return lines_in(lines);
            }
            self.is_torn = false;
        }
        let written = write_as_far_as_possible(&mut self.out, lines);
        if written == lines.len() {
            return 0;
        }
        let whole = lines[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let torn = written - whole;
        if torn > 0 && lines[written] == b'\n' {
            self.is_torn = true; // nothing of this line is missing but its end, which the next write begins with
            return lines_in(&lines[whole..]) - 1;
        }
        self.is_torn = torn > 0 && !self.out.take_back(torn as u64);
        lines_in(&lines[whole..])
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').skip(1).count() as u64
}

fn write_as_far_as_possible(out: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A disk with so much room, which may be cut to size or not.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>, bool);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (text, room) = &mut *self.0.lock().unwrap();
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            *room -= taken;
            text.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Outlet for Disk {
        fn take_back(&mut self, bytes: u64) -> bool {
            let (text, room) = &mut *self.0.lock().unwrap();
            let bytes = usize::try_from(bytes).unwrap();
            if self.1 {
                text.truncate(text.len() - bytes);
                *room += bytes;
            }
            self.1
        }
    }

    /// Fills a disk of so many bytes with lines, makes room, writes one more, and returns all lines.
    fn after_a_full_disk(room: usize, form: NoticeForm, can_take_back: bool) -> Vec<String> {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), room))), can_take_back);
        let mut writer = LineWriter::new(Box::new(disk.clone()), form, LostLines::default());
        for _ in 0..3 {
            writer.write(b"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 0);
        }
        disk.0.lock().unwrap().1 = 10_000;
        writer.write(b"{\"n\":4}\n", 0);
        assert!(!writer.has_lost());
        let text = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        assert!(text.ends_with('\n'));
        let whole = text.matches("\"n\":").count() as u64;
        assert!(writer.all_lost().count().abs_diff(10 - whole) <= 1, "{text}");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_line_that_is_lost_is_counted_and_what_follows_begins_anew() {
        for room in 0..60 {
            for can_take_back in [true, false] {
                let lines = after_a_full_disk(room, NoticeForm::Record, can_take_back);
                let whole: Vec<serde_json::Value> =
                    lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
                let count = whole.iter().filter(|line| line["n"].is_u64()).count() as u64;
                let dropped: u64 = whole.iter().filter_map(|line| line["dropped"].as_u64()).sum();
                assert_eq!(count + dropped, 10, "{room}, {can_take_back}: {lines:?}");
                assert_eq!(whole.last().unwrap()["n"], 4);
                let torn = lines.len() - whole.len();
                assert!(torn <= usize::from(!can_take_back), "{room}: {lines:?}");
            }
        }
    }

    #[test]
    fn the_notice_has_the_form_of_its_log() {
        for form in [LogFormat::Text, LogFormat::Json] {
            let lines = after_a_full_disk(0, NoticeForm::Application(form), true);
            assert_eq!(lines.len(), 2);
            assert!(lines[0].contains("9 log lines were dropped") && lines[0].contains("WARN"), "{lines:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&lines[0]).is_ok(), form == LogFormat::Json);
        }
        assert_eq!(after_a_full_disk(0, NoticeForm::Record, true), ["{\"dropped\":9}", "{\"n\":4}"]);
    }

    #[test]
    fn lines_that_never_came_this_far_are_said_after_those_that_did() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 100))), true);
        LineWriter::new(Box::new(disk.clone()), NoticeForm::Record, LostLines::default()).write(b"one\n", 7);
        assert_eq!(disk.0.lock().unwrap().0, b"one\n{\"dropped\":7}\n");
    }
}
