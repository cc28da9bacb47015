//! A real `redis-server` for tests: on a free port of the loopback, in a folder of its own, ended by its process id. Tests
//! of one program share it, each under a prefix of its own.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{ClusterAddress, KeyPrefix, NodeId, Redis, RedisSettings};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(10);

/// A running server. Dropped, it is killed and its folder removed.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    port: u16,
    folder: TempDir,
    prefixes: AtomicU32,
}

impl RedisServer {
    /// Returns the server that the tests of this program share; it lives as long as one of them uses it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<RedisServer>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start(&[]));
            *shared = Arc::downgrade(&started);
            started
        })
    }

    /// Starts one of its own, with further options of its command line: `["--requirepass", "secret"]`. The path of a
    /// configuration file comes first.
    ///
    /// # Panics
    ///
    /// When there is none to start, with the line that installs it.
    pub fn start(options: &[&str]) -> Self {
        Self::start_on(free_port(), options)
    }

    /// Starts one on this port.
    pub fn start_on(port: u16, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Redis");
        let process = spawn(port, &folder, options);
        let mut server = Self { process, port, folder, prefixes: AtomicU32::new(0) };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&mut self) {
        let since = Instant::now();
        let settings = Arc::new(RedisSettings {
            call_timeout: START,
            connect_timeout: START,
            ..RedisSettings::new(self.address(), KeyPrefix::new("start").expect("a prefix"))
        });
        let node = NodeId::new("start").expect("a node's id");
        loop {
            // Any answer will do: one that wants a password has started too.
            match Redis::new(Arc::clone(&settings), node.clone()).ping() {
                Err(crate::Away::Unreachable { reason }) => {
                    let ended = self.process.try_wait().expect("its state can be asked");
                    assert!(ended.is_none(), "redis-server ended at once ({ended:?}): {reason}");
                    assert!(since.elapsed() < START, "redis-server has not started: {reason}");
                    thread::sleep(Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }

    /// Returns where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Returns the folder in which it keeps its files.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Returns its address.
    pub fn address(&self) -> ClusterAddress {
        ClusterAddress::parse(&format!("redis://127.0.0.1:{}", self.port)).expect("an address")
    }

    /// Returns settings with a prefix that nobody has had before, and times that a busy machine keeps.
    pub fn settings(&self) -> RedisSettings {
        let number = self.prefixes.fetch_add(1, Ordering::Relaxed);
        let prefix = KeyPrefix::new(&format!("t{number}")).expect("a prefix");
        RedisSettings {
            call_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            ..RedisSettings::new(self.address(), prefix)
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the program.
fn spawn(port: u16, folder: &TempDir, options: &[&str]) -> Child {
    let log = fs::File::create(folder.path().join("log")).expect("a log");
    let port = port.to_string();
    let started = Command::new("redis-server")
        .args(options)
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(process) => process,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("there is no redis-server, which this test needs: apt-get install redis-server")
        }
        Err(error) => panic!("redis-server cannot be started: {error}"),
    }
}

/// Returns a port of the loopback that nobody listens on, and that nobody was given before. Of those that the system gives to
/// connections it is none, or one of them could take it before it is listened on.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    // Where two processes look at the same time, they begin apart.
    let begin = std::process::id().wrapping_mul(997);
    loop {
        let at = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + at).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
