//! `/api/audit`: what an operator has changed last, as it is in `logs/audit.log`, newest first. Only the newest file is read, and
//! of that its end.

use super::{Desk, RouteTable, gate::answer, listed::MAX_LIMIT};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

/// How much of the file is read at most, and how many lines are told of.
const MOST_BYTES: u64 = 128 * 1024;
const MOST_LINES: usize = MAX_LIMIT;

/// Adds the path.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/audit", list);
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuestion {
    /// How many lines.
    limit: Option<usize>,
}

async fn list(
    question: Result<web::Query<AuditQuestion>, actix_web::Error>,
    desk: web::Data<Desk>,
) -> HttpResponse {
    let limit = match question.map(|question| question.limit) {
        Ok(None) => MOST_LINES,
        Ok(Some(limit)) if (1..=MOST_LINES).contains(&limit) => limit,
        Ok(Some(_)) | Err(_) => {
            return answer(400, &format!("ask with limit alone, a whole number from 1 to {MOST_LINES}"));
        }
    };
    let path = desk.operated.audit_log.clone();
    // On a thread that may wait for the disk.
    match web::block(move || newest(&path, limit)).await {
        Ok(Ok(lines)) => HttpResponse::Ok().json(json!({ "lines": lines })),
        Ok(Err(error)) => answer(503, &format!("logs/audit.log cannot be read: {error}")),
        Err(_) => answer(503, "too much is asked at once"),
    }
}

/// Reads the file's last whole lines, newest first.
fn newest(path: &Path, limit: usize) -> io::Result<Vec<Value>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let begin = file.metadata()?.len().saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // What is cut off at the beginning is no JSON.
    let lines = text.lines().rev().filter_map(|line| serde_json::from_str(line).ok());
    Ok(lines.take(limit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_told_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        assert_eq!(newest(&path, MOST_LINES).unwrap(), Vec::<Value>::new(), "nothing was changed yet");
        let lines: Vec<String> =
            (0..5_000).map(|n| format!("{{\"n\":{n},\"verb\":\"keys disable\"}}\n")).collect();
        std::fs::write(&path, lines.concat() + "{\"half").unwrap();
        let found = newest(&path, MOST_LINES).unwrap();
        assert_eq!(
            (found.len(), found[0]["n"].as_u64(), found[199]["n"].as_u64()),
            (MOST_LINES, Some(4_999), Some(4_800))
        );
    }
}
