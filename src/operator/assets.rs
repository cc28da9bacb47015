//! The page's own files, from the folder `web`: in the binary, or read from the folder each time in debug builds. Public, since
//! there is nothing in them but the page.

use super::table::RouteTable;
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web,
};
use flate2::{Compression, write::GzEncoder};
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, fmt::Write as _, io::Write as _, sync::OnceLock};

/// The files of the page, part of the program in a release build.
#[derive(RustEmbed)]
#[folder = "web/"]
#[exclude = "vendoring/*"]
#[exclude = "*.json"]
struct Folder;

/// A file, ready to be sent.
struct Asset {
    content_type: &'static str,
    etag: String,
    plain: web::Bytes,
    /// The same, compressed.
    gzip: web::Bytes,
}

/// Adds the paths of the page.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/", page).get("/assets/{file:.*}", file);
}

async fn page(request: HttpRequest) -> HttpResponse {
    send(&request, "index.html")
}

async fn file(request: HttpRequest, path: web::Path<String>) -> HttpResponse {
    send(&request, &path)
}

fn send(request: &HttpRequest, name: &str) -> HttpResponse {
    // While the page is written its files are read anew each time.
    #[cfg(debug_assertions)]
    let (read, name) = (Folder::get(name).map(|file| Asset::of(name, &file.data)), name);
    #[cfg(debug_assertions)]
    let found = read.as_ref();
    #[cfg(not(debug_assertions))]
    let found = all().get(name);
    let Some(asset) = found else {
        let _ = name;
        return super::gate::answer(404, "there is no such file");
    };
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut answer = if known == Some(asset.etag.as_str()) {
        HttpResponse::NotModified().finish()
    } else {
        let accepted = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let takes_gzip =
            accepted.is_some_and(|text| text.split(',').any(|coding| coding.trim().starts_with("gzip")));
        let mut answer = HttpResponse::Ok();
        answer.content_type(asset.content_type);
        answer.insert_header((header::VARY, "accept-encoding"));
        if takes_gzip {
            answer.insert_header((header::CONTENT_ENCODING, "gzip")).body(asset.gzip.clone())
        } else {
            answer.body(asset.plain.clone())
        }
    };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::from_str(&asset.etag) {
        headers.insert(header::ETAG, etag);
    }
    answer
}

/// All files, compressed once.
#[cfg_attr(debug_assertions, expect(dead_code, reason = "debug builds read the folder"))]
fn all() -> &'static HashMap<String, Asset> {
    static ALL: OnceLock<HashMap<String, Asset>> = OnceLock::new();
    ALL.get_or_init(|| {
        let read = |name: std::borrow::Cow<'static, str>| {
            let file = Folder::get(&name)?;
            Some((name.to_string(), Asset::of(&name, &file.data)))
        };
        Folder::iter().filter_map(read).collect()
    })
}

impl Asset {
    fn of(name: &str, bytes: &[u8]) -> Self {
        let mut coder = GzEncoder::new(Vec::new(), Compression::best());
        // A vector takes everything.
        let _ = coder.write_all(bytes);
        let gzip = coder.finish().unwrap_or_default();
        let mut etag = String::from("W/\"");
        for byte in &Sha256::digest(bytes)[..16] {
            let _ = write!(etag, "{byte:02x}");
        }
        etag.push('"');
        Self { content_type: content_type(name), etag, plain: bytes.to_vec().into(), gzip: gzip.into() }
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_first_visit_loads_is_small_and_nothing_else_is_served() {
        let names: Vec<String> = Folder::iter().map(|name| name.to_string()).collect();
        assert!(names.iter().any(|name| name == "index.html"), "{names:?}");
        assert!(!names.iter().any(|name| name.contains("vendoring") || name.contains("json")), "{names:?}");
        let is_later =
            |name: &str| name == "zh.js" || (name.starts_with("views/") && name != "views/overview.js");
        let first = names.iter().filter(|name| !is_later(name));
        let bytes: usize =
            first.map(|name| Asset::of(name, &Folder::get(name).unwrap().data).gzip.len()).sum();
        assert!(bytes <= 80 * 1024, "{bytes} bytes compressed");
    }
}
