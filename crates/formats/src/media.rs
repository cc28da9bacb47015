//! Pictures, sounds and documents as Google takes them: inline in base64, or by an address that Google fetches. Data
//! URLs are taken apart here, and an address' type is told by its ending.

use std::borrow::Cow;

/// A piece of media in a request to Google.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media<'a> {
    /// `inlineData`.
    Inline {
        /// The type: `image/png`.
        mime_type: Cow<'a, str>,
        /// The bytes in base64, as the client sent them.
        base64: Cow<'a, str>,
    },
    /// `fileData`.
    File {
        /// `https://…`, a file of Google's, a video on `YouTube`.
        uri: Cow<'a, str>,
        /// The type, where it is known.
        mime_type: Option<Cow<'a, str>>,
    },
}

/// Why a URL is no media that Google takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaError {
    /// A data URL that is not `data:TYPE;base64,…`.
    DataUrl,
    /// Neither `https:` nor `data:`.
    Scheme,
    /// Nothing says of which type the file is.
    UnknownType,
}

/// What an image at an address without an ending is taken for: many servers have none, and Google looks at the bytes.
pub const USUAL_IMAGE: &str = "image/jpeg";
/// What a file of which nothing says the type is taken for, as both vendors do.
pub const USUAL_FILE: &str = "application/pdf";

impl MediaError {
    /// What is wrong, as a sentence that follows the field's name.
    pub fn why(self) -> &'static str {
        match self {
            Self::DataUrl => "is no data URL of the form data:TYPE;base64,DATA",
            Self::Scheme => "has to be an https or a data URL",
            Self::UnknownType => "does not say by its ending what type the file is; send it inline in base64",
        }
    }
}

impl<'a> Media<'a> {
    /// The media at a URL: a data URL's inline, else a file for Google to fetch. `mime_type` is what else is known of its
    /// type; a data URL's own counts first.
    pub fn of_url(url: Cow<'a, str>, mime_type: Option<Cow<'a, str>>) -> Result<Self, MediaError> {
        if has_start(&url, "data:") {
            return Self::of_data_url(url, mime_type);
        }
        if !has_start(&url, "https://") {
            return Err(MediaError::Scheme);
        }
        if is_youtube(&url) {
            return Ok(Self::File { uri: url, mime_type: None });
        }
        let known = mime_type.or_else(|| mime_type_of(path_of(&url)).map(Cow::Borrowed));
        // A file of Google's has a type already.
        if known.is_none() && !is_googles_file(&url) {
            return Err(MediaError::UnknownType);
        }
        Ok(Self::File { uri: url, mime_type: known })
    }

    /// As [`Media::of_url`], but that a file of which nothing says the type is taken for one of the type `usual`.
    pub fn of_url_or(
        url: Cow<'a, str>,
        mime_type: Option<Cow<'a, str>>,
        usual: &'static str,
    ) -> Result<Self, MediaError> {
        match Self::of_url(url.clone(), mime_type) {
            Err(MediaError::UnknownType) => Self::of_url(url, Some(usual.into())),
            other => other,
        }
    }

    fn of_data_url(url: Cow<'a, str>, mime_type: Option<Cow<'a, str>>) -> Result<Self, MediaError> {
        let comma = url.find(',').ok_or(MediaError::DataUrl)?;
        let (head, start) = (&url["data:".len()..comma], comma + 1);
        let own = head.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_base64 =
            head.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
        if !is_base64 || start == url.len() {
            return Err(MediaError::DataUrl);
        }
        let mime_type = match mime_type {
            _ if own.contains('/') => Cow::Owned(own),
            Some(known) => known,
            None => return Err(MediaError::DataUrl),
        };
        let base64 = match url {
            Cow::Borrowed(url) => Cow::Borrowed(&url[start..]),
            Cow::Owned(mut url) => Cow::Owned(url.split_off(start)),
        };
        Ok(Self::Inline { mime_type, base64 })
    }
}

/// The type of a file by the ending of its name; `None` where Google takes none of that kind.
pub fn mime_type_of(file_name: &str) -> Option<&'static str> {
    let (_, ending) = file_name.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "bmp" => "image/bmp",
        "avif" => "image/avif",
        "pdf" => "application/pdf",
        // Texts, of which code and settings are some.
        "txt" | "md" | "log" | "rst" | "tex" | "tsv" | "diff" | "patch" | "py" | "rs" | "js" | "mjs"
        | "cjs" | "jsx" | "ts" | "tsx" | "java" | "kt" | "scala" | "c" | "h" | "cc" | "cpp" | "hpp"
        | "cs" | "go" | "rb" | "php" | "swift" | "dart" | "lua" | "pl" | "r" | "sh" | "bash" | "ps1"
        | "sql" | "vue" | "svelte" | "toml" | "yaml" | "yml" | "ini" | "cfg" | "conf" | "jsonl" => {
            "text/plain"
        }
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "xml" => "text/xml",
        "json" => "application/json",
        "wav" => "audio/wav",
        "mp3" => "audio/mp3",
        "aac" | "m4a" => "audio/aac",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "flac" => "audio/flac",
        "aiff" | "aif" => "audio/aiff",
        "mp4" | "m4v" => "video/mp4",
        "mpeg" | "mpg" => "video/mpeg",
        "mov" => "video/mov",
        "avi" => "video/avi",
        "webm" => "video/webm",
        "wmv" => "video/wmv",
        "flv" => "video/x-flv",
        "3gp" | "3gpp" => "video/3gpp",
        _ => return None,
    })
}

/// What the client is told of media that the model made and its format cannot carry.
pub fn uncarried(mime_type: &str) -> String {
    format!("(The model made media of the type {mime_type}, which this format cannot carry.)")
}

fn has_start(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start))
}

/// The path of an `https` address, without query and fragment; empty if there is none.
fn path_of(url: &str) -> &str {
    let rest = url.get("https://".len()..).unwrap_or_default();
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    rest[..end].find('/').map_or("", |slash| &rest[slash..end])
}

fn host_of(url: &str) -> &str {
    let rest = url.get("https://".len()..).unwrap_or_default();
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    &rest[..end]
}

fn is_youtube(url: &str) -> bool {
    let host = host_of(url).to_ascii_lowercase();
    matches!(host.as_str(), "youtu.be" | "youtube.com" | "www.youtube.com" | "m.youtube.com")
}

fn is_googles_file(url: &str) -> bool {
    host_of(url).eq_ignore_ascii_case("generativelanguage.googleapis.com") && path_of(url).contains("/files/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Media<'_>, MediaError> {
        let owned = Media::of_url(Cow::Owned(url.to_owned()), None);
        let borrowed = Media::of_url(Cow::Borrowed(url), None);
        assert_eq!(owned, borrowed);
        borrowed
    }

    #[test]
    fn a_data_url_is_taken_apart() {
        let inline =
            |mime_type: &'static str| Media::Inline { mime_type: mime_type.into(), base64: "QUJD".into() };
        assert_eq!(of("data:image/PNG;base64,QUJD"), Ok(inline("image/png")));
        assert_eq!(of("DATA:text/plain;charset=utf-8;base64,QUJD"), Ok(inline("text/plain")));
        for bad in ["data:image/png,abc", "data:;base64,QUJD", "data:image/png;base64,", "data:"] {
            assert_eq!(of(bad), Err(MediaError::DataUrl), "{bad}");
        }
    }

    #[test]
    fn a_file_is_what_its_name_says_or_what_is_usual() {
        for (name, mime_type) in [
            ("notes.py", Some("text/plain")),
            ("Cargo.TOML", Some("text/plain")),
            ("a.b/paper.pdf", Some("application/pdf")),
            ("sheet.xlsx", None),
            ("README", None),
        ] {
            assert_eq!(mime_type_of(name), mime_type, "{name}");
        }
        let or = |url: &'static str| Media::of_url_or(url.into(), None, USUAL_FILE).unwrap();
        let file =
            |uri: &'static str, of: &'static str| Media::File { uri: uri.into(), mime_type: Some(of.into()) };
        assert_eq!(or("https://x.test/paper"), file("https://x.test/paper", USUAL_FILE));
        assert_eq!(or("https://x.test/a.png"), file("https://x.test/a.png", "image/png"));
        assert_eq!(Media::of_url_or("http://x.test".into(), None, USUAL_FILE), Err(MediaError::Scheme));
    }

    #[test]
    fn an_address_has_its_type_from_its_ending() {
        let file = |uri: &'static str, mime_type: Option<&'static str>| {
            Ok(Media::File { uri: uri.into(), mime_type: mime_type.map(Cow::Borrowed) })
        };
        for (url, mime_type) in [
            ("https://example.com/a/b.JPEG?size=1.5", Some("image/jpeg")),
            ("https://example.com/paper.pdf#page=2", Some("application/pdf")),
            ("https://www.youtube.com/watch?v=abc", None),
            ("https://generativelanguage.googleapis.com/v1beta/files/abc", None),
        ] {
            assert_eq!(of(url), file(url, mime_type), "{url}");
        }
        for (url, error) in [
            ("https://example.com", MediaError::UnknownType),
            ("https://example.com/picture", MediaError::UnknownType),
            ("http://example.com/a.png", MediaError::Scheme),
            ("file:///etc/passwd.txt", MediaError::Scheme),
            ("", MediaError::Scheme),
        ] {
            assert_eq!(of(url), Err(error), "{url}");
        }
    }
}
