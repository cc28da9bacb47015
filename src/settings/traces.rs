//! What `[traces]` and OpenTelemetry's own variables become.

use super::{Settings, SettingsError, text_file::read_text};
use gemini_balance_actors::exporter::TraceSettings;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::path::Path;
use url::Url;

const SETTING: &str = "traces.endpoint";
/// The whole address, for traces alone.
const TRACES_VARIABLE: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// The address of a collector, to which a path is added.
const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Both variables, whose changes a reload takes up.
pub(crate) const TRACE_VARIABLES: [&str; 2] = [TRACES_VARIABLE, VARIABLE];
/// Where a collector takes traces.
const PATH: &str = "/v1/traces";

impl Settings {
    /// Where traces go, checked; `None` where none are made.
    pub fn traces(&self) -> Result<Option<TraceSettings>, SettingsError> {
        self.read_traces().map_err(|error| self.name_source(error))
    }

    fn read_traces(&self) -> Result<Option<TraceSettings>, SettingsError> {
        let traces = &self.traces;
        if !(0.0..=1.0).contains(&traces.sample) {
            return Err(SettingsError::refused("traces.sample", "must be from 0 to 1"));
        }
        let set = [
            (SETTING, traces.endpoint.clone(), false),
            (TRACES_VARIABLE, self.environment.text(TRACES_VARIABLE)?, false),
            (VARIABLE, self.environment.text(VARIABLE)?, true),
        ];
        let Some((name, text, is_base)) = set.into_iter().find(|(_, text, _)| !text.trim().is_empty()) else {
            return Ok(None);
        };
        let endpoint = endpoint(text.trim(), is_base).map_err(|why| SettingsError::refused(name, why))?;
        let headers = match traces.headers_file.trim() {
            "" => HeaderMap::new(),
            path => headers(&read_text("traces.headers_file", Path::new(path))?)?,
        };
        Ok(Some(TraceSettings { endpoint, headers, sample: traces.sample }))
    }

    /// Lists OpenTelemetry's own variables that are set, with what they say.
    pub(crate) fn trace_variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        let text = |name| self.environment.text(name).ok().filter(|text| !text.is_empty());
        TRACE_VARIABLES.into_iter().filter_map(move |name| Some((name, text(name)?)))
    }
}

/// Reads an address. One without a path is a collector's, which takes traces at a path of its own.
fn endpoint(text: &str, is_base: bool) -> Result<Url, &'static str> {
    const WHY: &str = "must be a URL such as http://127.0.0.1:4318/v1/traces";
    let mut url = Url::parse(text).map_err(|_| WHY)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(WHY);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no credential: put it into traces.headers_file");
    }
    if is_base || url.path() == "/" {
        url.set_path(&format!("{}{PATH}", url.path().trim_end_matches('/')));
    }
    Ok(url)
}

/// Reads `name: value` lines. Values are secrets, and not repeated.
fn headers(text: &str) -> Result<HeaderMap, SettingsError> {
    let mut headers = HeaderMap::new();
    let lines = text.lines().map(str::trim).enumerate();
    for (at, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let refused = || {
            let place = format!("line {} of traces.headers_file", at + 1);
            SettingsError::refused(&place, "must be a header such as authorization: Bearer ...")
        };
        let (name, value) = line.split_once(':').ok_or_else(refused)?;
        let name: HeaderName = name.trim().parse().map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| refused())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_the_collectors() {
        let read = |text, is_base| endpoint(text, is_base).map(String::from);
        for (text, is_base, url) in [
            ("http://c:4318", false, "http://c:4318/v1/traces"),
            ("http://c:4318/", false, "http://c:4318/v1/traces"),
            ("https://c/otlp/traces", false, "https://c/otlp/traces"),
            ("https://c/otlp", true, "https://c/otlp/v1/traces"),
            ("http://c:4318", true, "http://c:4318/v1/traces"),
        ] {
            assert_eq!(read(text, is_base).as_deref(), Ok(url));
        }
        for bad in ["c:4318", "grpc://c:4317", "/v1/traces", "http://", "http://user:secret@c:4318"] {
            assert!(read(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_are_lines_and_a_bad_one_is_named_by_its_number() {
        let found = headers("# why\n\nAuthorization: Bearer abc\nx-scope: a:b\n").unwrap();
        assert_eq!(
            (&found["authorization"], &found["x-scope"]),
            (&"Bearer abc".parse().unwrap(), &"a:b".parse().unwrap())
        );
        let why = headers("x-scope: a\nsecret-without-a-colon\n").unwrap_err().to_string();
        assert!(why.contains("line 2 of traces.headers_file") && !why.contains("secret"), "{why}");
    }
}
