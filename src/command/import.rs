//! `gemini-balance import`: reads what another gateway has written down, shows what was found in it, and writes a configuration
//! of this one into a new folder. Starts nothing, and reads neither this gateway's configuration nor the `.env` beside it, which
//! may be the other's. Shows places, lengths and fingerprints, no secret.

use super::{consent, failure::Failure};
use crate::{
    configuration::Configuration,
    counted::counted,
    import::{self, Document, Import, SECRETS, SecretText, Vendor, write_folder},
    printable::Printable,
    settings::{self, Environment, Settings},
};
use clap::Args;
use gemini_balance_actors::{
    Secret,
    key_ring::{KeyRing, fingerprint},
    upstream::probe::{KeyHealth, KeyVerdict, Prober},
};
use keypool::{KeyId, KeySpec};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// How many lines are shown of each kind.
const SHOWN: usize = 50;

/// What to import.
#[derive(Args, Clone, Debug)]
pub(super) struct Flags {
    /// What the other gateway has: its .env, database, key export or config.yaml; - or nothing for standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Which gateway that is [default: as the files look]
    #[arg(long, value_enum, value_name = "GATEWAY")]
    from: Option<Vendor>,
    /// Ask Google about each key first, without spending quota; those that it refuses are written as disabled
    #[arg(long)]
    check: bool,
    /// The folder to make; it must not be there yet
    #[arg(long, value_name = "DIR", default_value = "imported")]
    out: PathBuf,
    /// Write without being asked
    #[arg(long)]
    yes: bool,
}

/// Reads, shows, asks, writes.
pub(super) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    if std::fs::symlink_metadata(&flags.out).is_ok() {
        let out = flags.out.display();
        return Err(Failure::new(format!(
            "--out {out}: it is there already, and nothing is written over; name another"
        )));
    }
    let (documents, input_is_taken) = documents(&flags.files)?;
    let environment = |name: &str| std::env::var(name).ok();
    let mut import = import::read(&documents, flags.from, &environment)?;
    drop(documents);
    out!("{}", shown(&import));
    if import.is_empty() {
        return Err(Failure::new("neither a key nor a token was found; nothing is written"));
    }
    let operator = if import.has_operator { Some(new_token()?) } else { None };
    if flags.check {
        check(&mut import)?;
    }
    // What is written must be what a gateway starts with.
    drop(Configuration::of(as_settings(&import, operator.as_ref(), Environment::default())?)?);
    let question = format!(
        "Write {} and {} into {}?",
        counted(import.keys.len(), "key"),
        counted(import.tokens.len(), "token"),
        Printable(flags.out.display())
    );
    if !flags.yes && !consent::is_given(&question, input_is_taken)? {
        out_line!("nothing was written");
        return Ok(ExitCode::FAILURE);
    }
    write_folder(&flags.out, &import, operator.as_ref())
        .map_err(|error| Failure::new(format!("{}: cannot be written: {error}", flags.out.display())))?;
    out!("{}", next_steps(&flags.out, &import));
    Ok(ExitCode::SUCCESS)
}

/// Reads what is named; tells whether standard input was among it.
fn documents(files: &[PathBuf]) -> Result<(Vec<Document>, bool), Failure> {
    let input = || Document::of_reader("standard input", &mut io::stdin().lock());
    if files.is_empty() {
        return Ok((vec![input()?], true));
    }
    let is_input = |path: &PathBuf| path.as_os_str() == "-";
    let read = |path: &PathBuf| if is_input(path) { input() } else { Document::of_file(path) };
    let documents = files.iter().map(read).collect::<Result<_, _>>()?;
    Ok((documents, files.iter().any(is_input)))
}

/// What a gateway makes of the import, with nothing written yet.
fn as_settings(
    import: &Import,
    operator: Option<&Secret>,
    environment: Environment,
) -> Result<Settings, Failure> {
    let text = import.config_text(operator, SecretText::InPlace);
    Ok(settings::of_text(Path::new("the imported config.toml"), text.expose(), environment)?)
}

/// Makes the operator's token.
fn new_token() -> Result<Secret, Failure> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::new("the system gives no random numbers"))?;
    Ok(Secret::new(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })))
}

/// Asks Google about the keys; disables those that it refuses.
fn check(import: &mut Import) -> Result<(), Failure> {
    let settings = as_settings(import, None, Environment::of_process())?;
    let upstream = settings.upstream()?;
    let asked: Vec<usize> =
        (0..import.keys.len()).filter(|position| import.keys[*position].enabled).collect();
    let spec = |position: &usize| {
        let secret = &import.keys[*position].secret;
        (KeySpec { id: KeyId::from(fingerprint(secret).as_str()), project: None, weight: 1 }, secret.clone())
    };
    let ring = KeyRing::new(asked.iter().map(spec).collect())
        .map_err(|unusable| Failure::new(format!("{} cannot be sent", unusable.id)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let prober = Prober::new(upstream).map_err(|error| settings.upstream_refused(&error))?;
    let mut healths = Vec::new();
    runtime.block_on(prober.ask_each(ring.keys(), |key, health| {
        out_line!("{}: {}", key.fingerprint(), verdict(&health));
        healths.push((key.fingerprint().to_owned(), health.verdict()));
    }));
    let mut refused = 0;
    for (name, verdict) in healths {
        if matches!(verdict, KeyVerdict::Good | KeyVerdict::Exhausted | KeyVerdict::Unknown) {
            continue;
        }
        if let Some(key) = import.keys.iter_mut().find(|key| fingerprint(&key.secret) == name) {
            key.enabled = false;
            refused += 1;
        }
    }
    out_line!("Google refuses {refused} of {}; these are written as disabled", asked.len());
    Ok(())
}

fn verdict(health: &KeyHealth) -> String {
    let word = health.verdict().as_str();
    match health {
        KeyHealth::Well => word.to_owned(),
        KeyHealth::Unwell { status, fault, .. } => format!("{word} ({status}): {}", fault.words()),
        KeyHealth::NotGoogle { status } => format!("{word} ({status}): it is not Google that answers"),
        KeyHealth::Unreachable { why } => format!("{word}: {}", Printable(why)),
    }
}

/// What was found, for a person.
fn shown(import: &Import) -> String {
    let mut text = String::new();
    let lines = import.sources.iter().map(|source| Printable(source).to_string());
    listing(&mut text, None, lines);
    let keys = import.keys.iter().map(|key| {
        let fingerprint = fingerprint(&key.secret);
        let label =
            key.label.as_ref().map_or_else(String::new, |label| format!("  called {}", Printable(label)));
        let unusual = if key.is_usual() { "" } else { "  not as Google's keys look" };
        let disabled = if key.enabled { "" } else { "  disabled" };
        let length = key.secret.expose().len();
        format!("{}, {length} characters  {fingerprint}{label}{unusual}{disabled}", Printable(&key.place))
    });
    listing(&mut text, Some(counted(import.keys.len(), "key")), keys);
    let tokens = import.tokens.iter().map(|token| {
        let length = token.secret.expose().chars().count();
        format!("{}: {}, {length} characters", token.name, Printable(&token.place))
    });
    listing(&mut text, Some(counted(import.tokens.len(), "token")), tokens);
    let settings = import.settings.iter().map(|setting| {
        format!("{} = {} ({})", setting.setting, Printable(&setting.shown), Printable(&setting.origin))
    });
    listing(&mut text, Some(counted(import.settings.len(), "setting")), settings);
    let limits = import.limits.iter().map(|limit| {
        let figure = |name: &str, figure: Option<u64>| {
            figure.map_or_else(String::new, |figure| format!(" {name} {figure}"))
        };
        let model = limit.model.as_deref().unwrap_or("each model");
        format!("{}:{}{}", Printable(model), figure("rpm", limit.rpm), figure("tpm", limit.tpm))
    });
    listing(&mut text, Some(counted(import.limits.len(), "limit")), limits);
    if import.has_operator {
        let former =
            if import.operator_is_client { ": the one that was there is a client's now" } else { "" };
        let _ = writeln!(text, "the operator's token is made new{former}");
    }
    if import.repeated > 0 {
        let _ = writeln!(text, "{} found more than once, and taken once", import.repeated);
    }
    listing(
        &mut text,
        Some(format!("{} to be looked at", import.warnings.len())),
        import.warnings.iter().map(|note| Printable(note).to_string()),
    );
    listing(
        &mut text,
        Some(format!("{} not taken", import.left.len())),
        import.left.iter().map(|note| Printable(note).to_string()),
    );
    if import.unnamed > 0 {
        let _ = writeln!(text, "and {}", counted(import.unnamed, "more note"));
    }
    text
}

/// One line each, under how many there are of what.
fn listing(text: &mut String, title: Option<String>, lines: impl ExactSizeIterator<Item = String>) {
    let count = lines.len();
    if count == 0 {
        return;
    }
    let indent = match title {
        Some(title) => {
            let _ = writeln!(text, "{title}:");
            "  "
        }
        None => "",
    };
    for line in lines.take(SHOWN) {
        let _ = writeln!(text, "{indent}{line}");
    }
    if let Some(more) = count.checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "{indent}and {more} more");
    }
}

fn next_steps(folder: &Path, import: &Import) -> String {
    let folder = Printable(folder.display()).to_string();
    let mut text = format!("written: {folder}/config.toml and {folder}/{SECRETS}\n");
    let (keys, disabled) = (import.keys.len(), import.disabled());
    let are = if disabled == 1 { "is" } else { "are" };
    let enable = format!("take `enabled = false` out of {folder}/config.toml for each that is to be used");
    if keys == 0 {
        let _ = writeln!(
            text,
            "no key was found, and a gateway does not start without a key: add a `[[keys]]` with its `secret` to {folder}/config.toml"
        );
    } else if disabled > 0 && disabled == keys {
        let all = if keys == 1 { "the one key".to_owned() } else { format!("all {keys} keys") };
        let _ = writeln!(text, "{all} {are} disabled, and a gateway does not start without a key: {enable}");
    } else if disabled > 0 {
        let _ = writeln!(text, "{disabled} of {keys} keys {are} disabled and not used: {enable}");
    }
    if import.tokens.is_empty() && import.tokens_refused > 0 {
        let _ = writeln!(
            text,
            "no token was taken, and clients are let in by the keys of the pool: add an `[[auth.tokens]]` with `name` and `secret` to {folder}/config.toml"
        );
    }
    let _ =
        writeln!(text, "nothing was started; next: cd {folder} && gemini-balance check && gemini-balance");
    if import.has_operator {
        let _ = writeln!(text, "the operator's token is in {folder}/{SECRETS}/admin-token");
    }
    text
}
