//! Where a request ends: however its bytes come, the same of them pass; and what passes is for actix-http one request as well,
//! whole and nothing behind it, or nothing that it would serve.

use crate::pieces;
use actix_http::{
    ServiceConfig,
    h1::{Codec, Message, MessageType},
};
use bytes::BytesMut;
use gemini_balance::connections::{Passed, Turn};
use tokio::{
    runtime::{Builder, Runtime},
    task::LocalSet,
};
use tokio_util::codec::Decoder as _;

thread_local! {
    /// What actix-http reads by. Its clock needs a runtime, and that goes on.
    static CONFIG: (ServiceConfig, LocalSet, Runtime) = {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let local = LocalSet::new();
        (local.block_on(&runtime, async { ServiceConfig::default() }), local, runtime)
    };
}

/// What is shown of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// So many, which are a request.
    Request(usize),
    /// So many, behind which something is no trailer.
    Refused(usize),
    /// All of them, and what may come.
    All,
}

/// What actix-http makes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// A request, and so many bytes behind it.
    Request {
        behind: usize,
    },
    /// It waits for more.
    On,
    Refused,
}

/// See the module.
pub fn run(input: &[u8]) {
    let [size, bytes @ ..] = input else { return };
    let shown = shown(bytes, 0);
    assert_eq!(self::shown(bytes, *size), shown);
    let read = |bytes: &[u8]| read(bytes, *size);
    match shown {
        Shown::Request(end) => {
            let read = read(&bytes[..end]);
            assert!(matches!(read, Read::Request { behind: 0 } | Read::Refused), "{read:?}");
        }
        // What is shown behind it is refused.
        Shown::Refused(end) => assert_eq!(read(&[&bytes[..end], b"\r\r"].concat()), Read::Refused),
        Shown::All => assert!(!matches!(read(bytes), Read::Request { .. })),
    }
}

fn shown(bytes: &[u8], size: u8) -> Shown {
    let (mut turn, mut passed) = (Turn::default(), 0);
    for piece in pieces(bytes, size) {
        match turn.pass(piece) {
            Passed::Up(some) => passed += some,
            Passed::ThenRefused(some) => return Shown::Refused(passed + some),
        }
        if turn.is_over() {
            return Shown::Request(passed);
        }
    }
    assert_eq!(passed, bytes.len());
    Shown::All
}

fn read(bytes: &[u8], size: u8) -> Read {
    let (mut codec, mut unread) = (Codec::new(CONFIG.with(|(config, ..)| config.clone())), BytesMut::new());
    for piece in pieces(bytes, size) {
        unread.extend_from_slice(piece);
        loop {
            let is_over = match codec.decode(&mut unread) {
                Err(_) => return Read::Refused,
                Ok(None) => break,
                Ok(Some(Message::Item(_))) => codec.message_type() == MessageType::None,
                Ok(Some(Message::Chunk(chunk))) => chunk.is_none(),
            };
            if is_over {
                return Read::Request { behind: unread.len() };
            }
        }
    }
    Read::On
}
