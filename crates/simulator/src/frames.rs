//! Follows the HTTP/2 frames that a client sends, as far as faults must know of them: where a frame begins and which
//! streams it opens. Reads headers of frames only; hyper reads the rest.

use std::collections::VecDeque;

/// The connection preface (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

/// What is known after some bytes.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: Vec<u8>,
    /// Bytes that are no header: what is left of the preface or of a payload.
    skip: usize,
    highest: u32,
    /// Streams opened and not yet asked for, in the order of opening.
    opened: VecDeque<u32>,
}

impl Frames {
    /// For a connection whose preface is still to come.
    pub(crate) fn after_preface() -> Self {
        Self { skip: PREFACE.len(), ..Self::default() }
    }

    /// Reads on; returns whether a stream was opened.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> bool {
        let before = self.highest;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let missing = (HEADER_BYTES - self.header.len()).min(bytes.len());
            if self.skip > 0 {
                continue;
            }
            self.header.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if let [a, b, c, kind, _flags, w, x, y, z] = self.header[..] {
                self.header.clear();
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                let stream = u32::from_be_bytes([w & 0x7f, x, y, z]);
                // A second HEADERS frame of a stream is its trailer.
                if kind == HEADERS && stream > self.highest {
                    self.highest = stream;
                    self.opened.push_back(stream);
                }
            }
        }
        self.highest > before
    }

    /// The stream of the next request: hyper hands requests on in the order of their streams.
    pub(crate) fn next_stream(&mut self) -> Option<u32> {
        self.opened.pop_front()
    }
}

/// A GOAWAY frame that names the last stream that is or will be processed.
pub(crate) fn go_away(last_stream: u32, code: u32) -> Vec<u8> {
    let mut frame = vec![0, 0, 8, GOAWAY, 0, 0, 0, 0, 0];
    frame.extend_from_slice(&last_stream.to_be_bytes());
    frame.extend_from_slice(&code.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, 0];
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn streams_are_seen_however_the_bytes_are_cut() {
        let bytes = [
            PREFACE.to_vec(),
            frame(4, 0, &[]),
            frame(HEADERS, 1, b"head"),
            frame(0, 1, &[HEADERS; 300]),
            frame(HEADERS, 1, b"trailer"),
            frame(HEADERS, 5, b""),
            frame(8, 0, &[0; 4]),
            frame(HEADERS, 7, b"x"),
        ]
        .concat();
        for size in [1, 2, 9, 10, 23, 1000] {
            let mut frames = Frames::after_preface();
            let opened = bytes.chunks(size).filter(|piece| frames.read(piece)).count();
            assert!(opened >= 1);
            let streams: Vec<u32> = std::iter::from_fn(|| frames.next_stream()).collect();
            assert_eq!(streams, [1, 5, 7], "in pieces of {size}");
        }
    }

    #[test]
    fn a_goaway_is_seventeen_bytes() {
        assert_eq!(go_away(5, 11), frame(GOAWAY, 0, &[0, 0, 0, 5, 0, 0, 0, 11]));
    }
}
