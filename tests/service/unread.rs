//! Commands whose output nobody reads on, as behind `| head -1`: each ends at once, and says nothing of it.

use crate::support::{Options, free_port, simulator};
use std::{
    io,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ADMIN: &str = "operator-token-9a41";
/// What a shell says of a program that has written to a pipe which nobody reads.
const UNREAD: i32 = 141;

/// A pipe of which nobody reads.
fn unread() -> io::PipeWriter {
    let (_, writer) = io::pipe().unwrap();
    writer
}

/// Runs a command to its end: its status, and what it has said on standard error.
fn ended(what: &str, command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if since.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("{what} goes on");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_output_nobody_reads_ends_without_a_word() {
    let simulator = simulator(2).await;
    let options = Options::new(&simulator.url(), 2).env("ADMIN_TOKEN", ADMIN).set("admin.port", free_port());
    let gateway = options.start();
    std::fs::write(gateway.folder().join("keys.txt"), "AIzaSyUnreadUnreadUnreadUnreadUnread0123\n").unwrap();
    for arguments in [
        &["check"][..],
        &["keys"],
        &["keys", "export"],
        &["keys", "add", "keys.txt"],
        &["tokens"],
        &["tokens", "add", "alice"],
        &["usage"],
        &["usage", "--format", "csv"],
        &["reload"],
        &["import", "keys.txt"],
        &["simulator", "--listen", "127.0.0.1:0"],
        &["demo", "--no-traffic", "--port", "0"],
        &["--help"],
        &["--version"],
    ] {
        let what = arguments.join(" ");
        let mut command = options.command(&gateway.folder());
        let (status, said) = ended(&what, command.args(arguments).stdout(unread()).stderr(Stdio::piped()));
        assert_eq!(said, "", "{what}");
        // The library that prints the help ends as if it had been read.
        let expected = if what.starts_with("--") { 0 } else { UNREAD };
        assert_eq!(status, Some(expected), "{what}");
    }
    // Nor is there anybody to tell of what has failed.
    let mut command = options.command(&gateway.folder());
    command.args(["explain", "nothing"]).stdout(unread()).stderr(unread());
    assert_eq!(ended("explain", &mut command).0, Some(UNREAD));
    // Somebody reads: it is as ever.
    let output = options.command(&gateway.folder()).arg("keys").output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"KEY"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_that_cannot_be_written_otherwise_is_a_failure() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let full = || Stdio::from(full.try_clone().unwrap());
    let mut command = Options::new(&simulator.url(), 1).command(folder.path());
    let (status, said) = ended("check", command.arg("check").stdout(full()).stderr(Stdio::piped()));
    assert_eq!(status, Some(1));
    assert!(
        said.starts_with("gemini-balance: cannot write to standard output: ") && said.lines().count() == 1,
        "{said}"
    );
    // A token that was made is there, though nobody has seen it.
    let options = Options::new(&simulator.url(), 1).env("ADMIN_TOKEN", ADMIN).set("admin.port", free_port());
    let gateway = options.start();
    let mut command = options.command(&gateway.folder());
    let command = command.args(["tokens", "add", "alice"]).stdout(full()).stderr(Stdio::piped());
    let (status, said) = ended("tokens add", command);
    assert_eq!(status, Some(1));
    assert!(said.contains("`gemini-balance tokens rotate alice` shows another"), "{said}");
}
