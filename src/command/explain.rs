//! `gemini-balance explain`: why one request went where it went. Asks a running gateway on this machine for it, else looks
//! into the transaction log, from the newest file on; what is found is put into words by `explain/words.rs`.

mod words;

use super::{failure::Failure, operator::ask};
use crate::settings::{Log, Settings};
use serde_json::Value;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// A line of the log that is longer is none.
const MAX_LINE: u64 = 4 * 1024 * 1024;
/// How much of the log is read, in bytes, all files together.
const MAX_READ: u64 = 4 * 1024 * 1024 * 1024;

/// Looks for the request and prints what became of it.
pub(super) fn run(settings: &Settings, id: &str) -> Result<ExitCode, Failure> {
    if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::new(
            "an id is sixteen hexadecimal digits: x-request-id of the answer, id in logs/transactions.log",
        ));
    }
    let id = id.to_ascii_lowercase();
    let request = match ask(settings, "GET", &format!("/api/requests/{id}"), "") {
        Ok(request) => request,
        Err(unasked) => match in_log(&settings.log, &id) {
            Ok(Some(request)) => request,
            Ok(None) => {
                let place = transaction_log(&settings.log).display().to_string();
                return Err(Failure::new(format!(
                    "no request {id} in {place} and the files put aside; {unasked}"
                )));
            }
            Err(error) => {
                let place = transaction_log(&settings.log).display().to_string();
                return Err(Failure::new(format!("{place} cannot be read: {error}; {unasked}")));
            }
        },
    };
    out!("{}", words::told(&request));
    Ok(ExitCode::SUCCESS)
}

fn transaction_log(log: &Log) -> PathBuf {
    log.dir.join("transactions.log")
}

/// Looks for the request's line, in the file that is written now and then in those put aside, the youngest first.
fn in_log(log: &Log, id: &str) -> io::Result<Option<Value>> {
    let current = transaction_log(log);
    let mut left = MAX_READ;
    for number in 0..=log.keep_files {
        let mut path = current.clone().into_os_string();
        if number > 0 {
            path.push(format!(".{number}"));
        }
        match find(Path::new(&path), id, &mut left) {
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
    }
    Ok(None)
}

fn find(path: &Path, id: &str, left: &mut u64) -> io::Result<Option<Value>> {
    let mut file = BufReader::with_capacity(256 * 1024, File::open(path)?);
    let needle = format!(r#","id":"{id}","#);
    let finder = memchr::memmem::Finder::new(&needle);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut file).take(MAX_LINE.min(*left)).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        *left -= read as u64;
        // Elsewhere in the line it is a client's text, in which quotes are escaped.
        if finder.find(&line).is_some()
            && let Ok(request) = serde_json::from_slice::<Value>(&line)
            && request["id"] == id
        {
            return Ok(Some(request));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_request_is_found_in_whichever_file_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let line =
            |id: &str| format!("{{\"time\":\"t\",\"id\":\"{id}\",\"path\":\"\\\",\\\"id\\\":\\\"bbbb\"}}\n");
        fs::write(folder.path().join("a.log"), line("aaaa") + "broken {\n" + &line("cccc")).unwrap();
        let found = |id: &str, mut left: u64| {
            find(&folder.path().join("a.log"), id, &mut left).unwrap().map(|request| request["id"].clone())
        };
        assert_eq!(found("cccc", MAX_READ), Some("cccc".into()));
        assert_eq!(found("bbbb", MAX_READ), None, "what a client has written is no id");
        assert_eq!(found("cccc", 20), None, "no more than it may is read");
    }
}
