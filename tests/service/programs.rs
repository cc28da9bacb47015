//! Programs of others that run beside the gateway until they are dropped. One that is not installed fails the test, with the
//! line that installs it.

use crate::support::wait_for;
use std::{
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

/// A program, and the folder that it has for itself.
pub(crate) struct Program {
    child: Child,
    output: Arc<Mutex<String>>,
    _folder: tempfile::TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts a program of these Debian packages and waits until it listens at `port`. It must stay in the foreground, as one process.
    pub(crate) fn start(
        program: &str,
        packages: &str,
        port: u16,
        arguments: impl FnOnce(&Path) -> Vec<String>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        // Servers are where only root looks.
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command
            .args(arguments(folder.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{program}: {error}; this test needs it: apt-get install {packages}")
        });
        let output = Arc::new(Mutex::new(String::new()));
        let pipes: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for pipe in pipes {
            let output = Arc::clone(&output);
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let mut output = output.lock().unwrap();
                    output.push_str(&line);
                    output.push('\n');
                }
            });
        }
        let mut program = Self { child, output, _folder: folder };
        wait_for("program that listens", || {
            let ended = program.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", program.output());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        program
    }

    /// What it has printed so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }
}
