//! Files as large as Google takes them: in one piece and in chunks, one of which breaks off and is gone on with. No side holds
//! the file: its bytes are made as they are sent, and only their length and digest are kept.

use super::{Baseline, Row, Size, figures::number, status};
use crate::{
    support::{Gateway, Options, TOKEN, simulator, wait_for},
    wire::{Answer, Wire, request},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use gemini_simulator::{End, Simulator};
use sha2::Digest;
use std::fmt::Write as _;

const MIB: u64 = 1024 * 1024;
/// Every chunk but the last is a multiple of this.
const GRANULE: u64 = 8 * MIB;

/// A file of which no two blocks are alike.
struct Made {
    size: u64,
    block: Vec<u8>,
}

impl Made {
    fn new(size: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(7);
        let block = std::iter::repeat_with(|| rng.u8(..)).take(usize::try_from(MIB).unwrap()).collect();
        Self { size, block }
    }

    /// The bytes from one place on, up to another or to the end of a block.
    fn piece(&mut self, from: u64, to: u64) -> &[u8] {
        let number = from / MIB;
        self.block[..8].copy_from_slice(&number.to_be_bytes());
        let end = to.min((number + 1) * MIB) - number * MIB;
        &self.block[usize::try_from(from % MIB).unwrap()..usize::try_from(end).unwrap()]
    }

    /// Google's digest of it: base64 of hex.
    fn digest(&mut self) -> String {
        let (mut hash, mut at) = (sha2::Sha256::new(), 0);
        while at < self.size {
            let piece = self.piece(at, self.size);
            hash.update(piece);
            at += piece.len() as u64;
        }
        let hex = hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        STANDARD.encode(hex)
    }
}

/// One upload through a gateway.
struct Upload<'a> {
    gateway: &'a Gateway,
    target: String,
    wire: Wire,
}

impl<'a> Upload<'a> {
    async fn begin(gateway: &'a Gateway, size: u64) -> Self {
        let length = size.to_string();
        let headers = [
            ("x-goog-api-key", TOKEN),
            ("x-goog-upload-protocol", "resumable"),
            ("x-goog-upload-command", "start"),
            ("x-goog-upload-header-content-length", length.as_str()),
            ("x-goog-upload-header-content-type", "application/octet-stream"),
        ];
        let mut wire = Wire::connect(gateway.authority()).await;
        wire.send(request("POST", "/upload/v1beta/files", &headers, "{}")).await.unwrap();
        let started = wire.answer().await.unwrap();
        assert_eq!(started.status, 200, "{}", started.text());
        let url = started.header("x-goog-upload-url").unwrap();
        let target = url.split_once("//gateway").unwrap().1.to_owned();
        Self { gateway, target, wire }
    }

    async fn head(&mut self, command: &str, offset: u64, length: u64) {
        let (offset, length) = (offset.to_string(), length.to_string());
        let headers = [
            ("x-goog-upload-command", command),
            ("x-goog-upload-offset", offset.as_str()),
            ("content-length", length.as_str()),
        ];
        self.wire.send(request("POST", &self.target, &headers, "")).await.unwrap();
    }

    async fn bytes(&mut self, file: &mut Made, from: u64, to: u64) {
        let mut at = from;
        while at < to {
            let piece = file.piece(at, to);
            self.wire.send(piece).await.unwrap();
            at += piece.len() as u64;
        }
    }

    /// Sends the bytes from one place to another, the last of them with the word that they are.
    async fn chunk(&mut self, file: &mut Made, from: u64, to: u64) -> Answer {
        let command = if to == file.size { "upload, finalize" } else { "upload" };
        self.head(command, from, to - from).await;
        self.bytes(file, from, to).await;
        let answer = self.wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    /// Sends half of a chunk and goes away; returns from where on it is to be sent again.
    async fn broken(&mut self, simulator: &Simulator, file: &mut Made, from: u64, to: u64) -> u64 {
        let sent = from + (to - from) / 2;
        let before = simulator.requests().len();
        let arrived = || simulator.requests().split_off(before).pop();
        self.head("upload", from, to - from).await;
        self.bytes(file, from, sent).await;
        // What is on its way has to arrive before the end does.
        wait_for("bytes upstream", || {
            arrived().filter(|chunk| chunk.body_bytes >= (sent - from) / MIB * MIB)
        });
        self.wire = Wire::connect(self.gateway.authority()).await;
        wait_for("end upstream", || arrived().filter(|chunk| chunk.end == End::ClientLeft));
        self.head("query", 0, 0).await;
        let asked = self.wire.answer().await.expect("an answer");
        assert_eq!(asked.header("x-goog-upload-status"), Some("active"), "{}", asked.text());
        asked.header("x-goog-upload-size-received").unwrap().parse().unwrap()
    }
}

/// The most that a gateway has ever held, in KiB.
fn peak_kib(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Whether a file came as it was sent.
fn is_exact(answer: &Answer, file: &Made, digest: &str) -> usize {
    let (told, size) = (&answer.json()["file"], &file.size.to_string());
    usize::from(told["sizeBytes"] == *size && told["sha256Hash"] == digest)
}

pub(super) async fn of_two_gigabytes(size: Size) -> Row {
    let (chunk, chunks) = size.of((GRANULE, 4), (8 * GRANULE, 32));
    let simulator = simulator(3).await;
    let gateway = Options::new(&simulator.url(), 3).start();
    assert_eq!(status(&gateway).await, 200);
    let mut file = Made::new(chunk * chunks);
    let digest = file.digest();
    // The first of its kind sets up what all need.
    let mut first = Made::new(GRANULE);
    Upload::begin(&gateway, first.size).await.chunk(&mut first, 0, GRANULE).await;
    let (before, memory) = (Baseline::of(&gateway), peak_kib(&gateway));

    let end = file.size;
    let mut upload = Upload::begin(&gateway, end).await;
    let mut exact = is_exact(&upload.chunk(&mut file, 0, end).await, &file, &digest);

    let mut upload = Upload::begin(&gateway, end).await;
    let mut at = 0;
    while at < chunk * chunks / 2 {
        upload.chunk(&mut file, at, at + chunk).await;
        at += chunk;
    }
    let taken = upload.broken(&simulator, &mut file, at, at + chunk).await;
    let wanted = at + chunk / 2;
    // In whole chunks from there on, and what is left of the last.
    at = taken;
    while at + chunk < end {
        upload.chunk(&mut file, at, at + chunk).await;
        at += chunk;
    }
    exact += is_exact(&upload.chunk(&mut file, at, end).await, &file, &digest);
    drop(upload);

    let mut row = Row::new("Uploads of 2 GiB: in one piece; in chunks, one of which breaks off");
    row.exactly("files of the bytes that were sent", exact, 2);
    row.exactly("bytes sent before the break and not taken up", wanted.saturating_sub(taken), 0);
    let grown = peak_kib(&gateway).saturating_sub(memory);
    row.amount("memory at its most, more than before", number(grown) / 1024.0, 32.0, "MiB");
    before.returns(&gateway, 8).await;
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_one_piece_or_broken_chunks_is_the_bytes_that_were_sent() {
    of_two_gigabytes(Size::Small).await.counts_are_met();
}
