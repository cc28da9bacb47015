//! `gemini-balance keys add`: reads a text, shows what was found in it, and adds what the operator agrees to. The text goes to
//! the gateway alone; what is shown of it are lines, lengths and fingerprints.

use super::{CHECK_PATIENCE, cell, kept, verdict};
use crate::{
    command::{consent, failure::Failure, operator::ask_patiently},
    counted::counted,
    settings::Settings,
};
use clap::Args;
use gemini::pasted::{self, MAX_PASTED_BYTES};
use gemini_balance_actors::{Secret, key_ring::fingerprint};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// How many keys the gateway checks for one question.
const CHECKED_AT_ONCE: usize = crate::keys::CHECKED_AT_ONCE;
/// How long the gateway may take to read, write down and take up as many keys as a text may hold.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many lines are shown of each kind.
const SHOWN: usize = 50;

/// What to add.
#[derive(Args, Clone, Debug)]
pub(in crate::command) struct Flags {
    /// A file with the text; - or nothing for standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The Google project that the keys belong to
    #[arg(long)]
    project: Option<String>,
    /// Add without being asked
    #[arg(long)]
    yes: bool,
    /// Ask Google about each key first, without spending quota, and add those that it accepts
    #[arg(long)]
    check: bool,
    /// Add words that do not look as Google's keys do as well
    #[arg(long)]
    unusual: bool,
}

/// Shows, asks, adds.
pub(super) fn run(settings: &Settings, flags: &Flags) -> Result<ExitCode, Failure> {
    let is_input = flags.file.as_ref().is_none_or(|path| path.as_os_str() == "-");
    let text = read(if is_input { None } else { flags.file.as_ref() })?;
    let question = json!({ "text": text.expose(), "dry_run": true, "project": flags.project });
    let answer = ask_patiently(settings, "POST", "/api/keys", &question.to_string(), PATIENCE)?;
    let preview = &answer["preview"];
    out!("{}", shown(preview));
    let mut chosen: Vec<String> = fingerprints(&preview["new"]);
    if flags.unusual {
        chosen.extend(fingerprints(&preview["unusual"]));
    }
    if flags.check && !chosen.is_empty() {
        chosen = checked(settings, &text, &chosen)?;
    }
    if chosen.is_empty() {
        out_line!("nothing to add");
        return Ok(ExitCode::SUCCESS);
    }
    if !flags.yes && !consent::is_given(&format!("Add {}?", counted(chosen.len(), "key")), is_input)? {
        out_line!("nothing was added");
        return Ok(ExitCode::FAILURE);
    }
    let body = json!({ "text": only(&text, &chosen).expose(), "project": flags.project, "choose": chosen });
    let answer = ask_patiently(settings, "POST", "/api/keys", &body.to_string(), PATIENCE)?;
    let added = answer["added"].as_array().map_or(0, Vec::len);
    out_line!("{} {} added", counted(added, "key"), if added == 1 { "was" } else { "were" });
    kept(&answer)?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: Option<&PathBuf>) -> Result<Secret, Failure> {
    let mut bytes = Vec::new();
    let most = MAX_PASTED_BYTES as u64 + 1;
    let read = match file {
        Some(path) => File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
        None => io::stdin().lock().take(most).read_to_end(&mut bytes),
    };
    let place = || file.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    read.map_err(|error| Failure::new(format!("cannot read {}: {error}", place())))?;
    // The error would repeat the text.
    let text = String::from_utf8(bytes).map_err(|_| Failure::new(format!("{} is not UTF-8", place())))?;
    Ok(Secret::new(text))
}

/// Asks Google about the chosen keys, a batch at a time, and returns those that it accepts.
fn checked(settings: &Settings, text: &Secret, chosen: &[String]) -> Result<Vec<String>, Failure> {
    let mut accepted = Vec::new();
    for batch in chosen.chunks(CHECKED_AT_ONCE) {
        let body =
            json!({ "text": only(text, batch).expose(), "choose": batch, "dry_run": true, "check": true });
        let answer = ask_patiently(settings, "POST", "/api/keys", &body.to_string(), CHECK_PATIENCE)?;
        for check in answer["checks"].as_array().into_iter().flatten() {
            let key = check["fingerprint"].as_str().unwrap_or_default();
            out_line!("{}: {}", cell(key), verdict(check));
            if check["verdict"] == "good" || check["verdict"] == "exhausted" {
                accepted.push(key.to_owned());
            }
        }
    }
    out_line!("Google accepts {} of {}", accepted.len(), chosen.len());
    Ok(accepted)
}

/// The chosen keys alone, one a line.
fn only(text: &Secret, chosen: &[String]) -> Secret {
    let chosen: HashSet<&String> = chosen.iter().collect();
    let found = pasted::read(text.expose()).unwrap_or_default();
    let is_chosen = |key: &str| chosen.contains(&fingerprint(&Secret::new(key)));
    let keys: Vec<&str> = found.keys.iter().map(|key| key.text).filter(|key| is_chosen(key)).collect();
    Secret::new(keys.join("\n"))
}

fn fingerprints(list: &Value) -> Vec<String> {
    let keys = list.as_array().into_iter().flatten();
    keys.filter_map(|key| Some(key["fingerprint"].as_str()?.to_owned())).collect()
}

/// The preview as text.
fn shown(preview: &Value) -> String {
    let mut text = String::new();
    for (part, what) in [
        ("new", "new"),
        ("unusual", "unusual, added with --unusual only"),
        ("here", "here already"),
        ("repeated", "twice in the text"),
    ] {
        let keys = preview[part].as_array().map_or(&[][..], Vec::as_slice);
        if keys.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{} {what}:", keys.len());
        for key in keys.iter().take(SHOWN) {
            let id = key["id"].as_str().map_or_else(String::new, |id| format!("  is {}", cell(id)));
            let fingerprint = cell(key["fingerprint"].as_str().unwrap_or_default());
            let (line, length) = (&key["line"], &key["length"]);
            let _ = writeln!(text, "  line {line}, {length} characters  {fingerprint}{id}");
        }
        if let Some(more) = keys.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(text, "  and {more} more");
        }
    }
    if let Some(others) = preview["other_count"].as_u64().filter(|others| *others > 0) {
        let lines = preview["others"].as_array().into_iter().flatten().take(10);
        let lines: Vec<String> = lines.map(|word| word["line"].to_string()).collect();
        let _ = writeln!(text, "{others} words are no keys (lines {})", lines.join(", "));
    }
    text
}
