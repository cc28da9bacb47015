//! What LiteLLM has in its `config.yaml`: the keys of its `gemini/` deployments, their limits and shares, and the master key.

use super::{
    ImportError, NamedValues,
    imported::{Import, KeyDetails},
    toml_string::quoted,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The longest text that is read, in bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// What begins the names of Google's models, by API key, there.
const GEMINI: &str = "gemini/";
/// What begins a value that stands in the environment.
const REFERENCE: &str = "os.environ/";
/// The variables that the gateway itself reads keys from.
const READ_HERE: [&str; 3] = ["GOOGLE_API_KEYS", "GOOGLE_API_KEY", "GEMINI_API_KEY"];
/// Sections that are read.
const MODELS: &str = "model_list";
const GENERAL: &str = "general_settings";
/// What of a deployment is read.
const READ: [&str; 5] = ["model", "api_key", "rpm", "tpm", "weight"];

/// A model's limits there, as its deployments say them.
#[derive(Default)]
struct ModelLimits {
    rpm: BTreeSet<u64>,
    tpm: BTreeSet<u64>,
}

/// Takes what has a counterpart here, and says what has none.
pub(super) fn take(
    document: &str,
    text: &str,
    values: &NamedValues<'_>,
    import: &mut Import,
) -> Result<(), ImportError> {
    let configuration = read(document, text)?;
    let deployments = configuration[MODELS].as_array().map_or(&[][..], Vec::as_slice);
    let mut limits: BTreeMap<String, ModelLimits> = BTreeMap::new();
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unread: BTreeSet<String> = BTreeSet::new();
    let mut aliases = BTreeSet::new();
    let mut weights = BTreeSet::new();
    for (position, deployment) in (1..).zip(deployments) {
        let parameters = &deployment["litellm_params"];
        let place = format!("entry {position} of {MODELS} in {document}");
        let named = parameters["model"].as_str().unwrap_or_default();
        let Some(model) = named.strip_prefix(GEMINI) else {
            *others.entry(vendor_of(named)).or_default() += 1;
            continue;
        };
        let fields = parameters.as_object().into_iter().flat_map(|fields| fields.keys());
        unread.extend(
            fields
                .filter(|field| !READ.contains(&field.as_str()))
                .map(|field| format!("litellm_params.{field}")),
        );
        let alias = deployment["model_name"].as_str().unwrap_or_default();
        if !alias.is_empty()
            && alias != model
            && alias != named
            && !model.contains('*')
            && is_name(alias)
            && is_name(model)
        {
            aliases.insert((alias, model));
        }
        let weight = number(&parameters["weight"]).and_then(|weight| u32::try_from(weight).ok());
        let weight = weight.filter(|weight| *weight > 0).unwrap_or(1);
        if take_key(&place, &parameters["api_key"], weight, values, import)? {
            weights.insert(weight);
        }
        if is_name(model) {
            let limits = limits.entry(model.to_owned()).or_default();
            for (name, taken) in [("rpm", &mut limits.rpm), ("tpm", &mut limits.tpm)] {
                let value = &parameters[name];
                match number(value).filter(|limit| *limit > 0) {
                    Some(limit) => taken.extend([limit]),
                    None if value.is_null() => {}
                    None => import.leave(format!(
                        "{place}: {name} of {model}: only a whole number of at least 1 can be a limit"
                    )),
                }
            }
        }
    }
    for (alias, model) in aliases {
        import.leave(format!("{document}: the alias {alias}; ask for {model}"));
    }
    if weights.len() > 1 {
        import.set("pool.strategy", quoted("weighted"), format!("weight in {document}"));
    }
    take_limits(document, &limits, import);
    for (vendor, count) in others {
        import.leave(format!("{document}: {count} entries of {MODELS} that are {vendor}"));
    }
    take_general(document, &configuration[GENERAL], values, &mut unread, import)?;
    let sections = configuration.as_object().into_iter().flatten();
    for (section, fields) in sections.filter(|(section, _)| *section != MODELS && *section != GENERAL) {
        match fields.as_object() {
            Some(fields) => unread.extend(fields.keys().map(|field| format!("{section}.{field}"))),
            None => drop(unread.insert(section.clone())),
        }
    }
    import.leave_names(document, unread.iter().map(String::as_str));
    Ok(())
}

/// Reads the text. An error says where it is, since its message would quote the text.
fn read(document: &str, text: &str) -> Result<Value, ImportError> {
    if text.len() > MAX_BYTES {
        return Err(ImportError::new(document, format!("is longer than {} MiB", MAX_BYTES >> 20)));
    }
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or_else(String::new, |place| format!(" at line {}", place.line()));
        ImportError::new(document, format!("cannot be read as YAML{line}"))
    })
}

/// Takes a key, where it is given or in the variable that it names; tells whether one was there.
fn take_key(
    place: &str,
    value: &Value,
    weight: u32,
    values: &NamedValues<'_>,
    import: &mut Import,
) -> Result<bool, ImportError> {
    let Some(text) = value.as_str().map(str::trim).filter(|text| !text.is_empty()) else {
        import.leave(format!("{place}: has no api_key"));
        return Ok(false);
    };
    let Some(name) = text.strip_prefix(REFERENCE) else {
        import.add_key(place.to_owned(), text, KeyDetails { weight, ..KeyDetails::default() })?;
        return Ok(true);
    };
    match values.find(name) {
        Some(key) => {
            import.add_key(place.to_owned(), key.trim(), KeyDetails { weight, ..KeyDetails::default() })?;
            return Ok(true);
        }
        None if READ_HERE.contains(&name) => import.warn(format!(
            "{place}: the key stays in the variable {name}, from which the gateway reads it, too"
        )),
        None if is_name(name) => import.leave(format!(
            "{place}: the variable {name} is not set here; set it and import again, or name its key in GOOGLE_API_KEYS"
        )),
        None => import.leave(format!("{place}: the variable that it names is not set here")),
    }
    Ok(false)
}

/// Takes what each model's deployments may use. Each key is a project of its own here, as each deployment is there.
fn take_limits(document: &str, limits: &BTreeMap<String, ModelLimits>, import: &mut Import) {
    for (model, ModelLimits { rpm, tpm }) in limits {
        if rpm.len() > 1 || tpm.len() > 1 {
            import.warn(format!(
                "{document}: deployments of {model} have different limits; the lowest is taken for each key"
            ));
        }
        let lowest = |figures: &BTreeSet<u64>| figures.iter().copied().find(|figure| *figure > 0);
        let limit = keypool::Limit {
            model: (!model.contains('*')).then(|| model.as_str().into()),
            rpm: lowest(rpm),
            tpm: lowest(tpm),
            ..keypool::Limit::default()
        };
        if limit.rpm.is_some() || limit.tpm.is_some() {
            import.limits.push(limit);
        }
    }
}

fn take_general(
    document: &str,
    general: &Value,
    values: &NamedValues<'_>,
    unread: &mut BTreeSet<String>,
    import: &mut Import,
) -> Result<(), ImportError> {
    let Some(fields) = general.as_object() else { return Ok(()) };
    for (field, value) in fields {
        let text = value.as_str().map(str::trim).unwrap_or_default();
        match field.as_str() {
            "master_key" => {
                import.has_operator = true;
                let place = format!("{GENERAL}.master_key in {document}");
                match text.strip_prefix(REFERENCE) {
                    None => import.add_operators_token(place, text)?,
                    Some(name) => match values.find(name) {
                        Some(token) => import.add_operators_token(place, &token)?,
                        None if is_name(name) => import.leave(format!("{place}: the variable {name} is not set here")),
                        None => import.leave(format!("{place}: the variable that it names is not set here")),
                    },
                }
            }
            "database_url" => import.leave(format!(
                "{document}: virtual keys, of which the database has hashes only; make new ones (`gemini-balance tokens add`)"
            )),
            field => drop(unread.insert(format!("{GENERAL}.{field}"))),
        }
    }
    Ok(())
}

/// Returns the vendor of a model's name, where it is one that is known: the name may be anything.
fn vendor_of(model: &str) -> &str {
    match model.split_once('/') {
        Some((vendor, _)) if is_name(vendor) && vendor.len() <= 24 => vendor,
        Some(_) => "of another vendor",
        None => "of no named vendor",
    }
}

/// Returns whether a text may be shown as a name, and is no key.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && !["AIza", "AQ.", "sk-"].iter().any(|begins_a_key| text.contains(begins_a_key))
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'*' | b'/'))
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}
