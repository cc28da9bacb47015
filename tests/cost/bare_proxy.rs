//! The least that this program's parts cost: actix-web in front, reqwest behind, and nothing in between but one key in place of
//! the client's. It has no pool, no limits, no log, and no care for what may go wrong: never run it for anything but a measurement.
//! Beside the gateway in one run it says how much of a request's cost is the parts', and how much is what the gateway does
//! (`docs/performance.md`). It reads the variables that the gateway reads: `GEMINI_BALANCE__SERVER__PORT`, `GEMINI_API_BASE_URL`, and
//! of `GOOGLE_API_KEYS` the first. `tests/cost/beside.py` runs it.
#![expect(clippy::expect_used, reason = "it may fail loudly")]

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use reqwest::{Client, header};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a worker forwards with.
struct Way {
    client: Client,
    base: String,
    key: String,
}

async fn forward(request: HttpRequest, body: web::Bytes, way: web::Data<Way>) -> HttpResponse {
    let target = format!("{}{}", way.base, request.uri());
    let mut up = way.client.request(request.method().as_str().parse().unwrap_or_default(), target).body(body);
    if let Some(kind) = request.headers().get(header::CONTENT_TYPE.as_str()) {
        up = up.header(header::CONTENT_TYPE, kind.as_bytes());
    }
    let up = if request.path().contains("/openai/") {
        up.bearer_auth(&way.key)
    } else {
        up.header("x-goog-api-key", &way.key)
    };
    let Ok(answer) = up.send().await else { return HttpResponse::BadGateway().finish() };
    let mut down = HttpResponse::build(
        actix_web::http::StatusCode::from_u16(answer.status().as_u16())
            .expect("any status is one of both crates'"),
    );
    for (name, value) in answer.headers() {
        if *name != header::TRANSFER_ENCODING
            && *name != header::CONNECTION
            && *name != header::CONTENT_LENGTH
        {
            down.append_header((name.as_str(), value.as_bytes()));
        }
    }
    match answer.content_length() {
        Some(length) => down.no_chunking(length).streaming(answer.bytes_stream()),
        None => down.streaming(answer.bytes_stream()),
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("GEMINI_BALANCE__SERVER__PORT").ok().and_then(|port| port.parse().ok());
    let base = std::env::var("GEMINI_API_BASE_URL").expect("GEMINI_API_BASE_URL names the upstream");
    let keys = std::env::var("GOOGLE_API_KEYS").expect("GOOGLE_API_KEYS names a key");
    let key = keys.split(',').next().unwrap_or_default().to_owned();
    rustls::crypto::ring::default_provider().install_default().expect("nobody else installs one");
    HttpServer::new(move || {
        let client = Client::builder().no_proxy().build().expect("a client");
        let way = web::Data::new(Way { client, base: base.clone(), key: key.clone() });
        App::new().app_data(way).default_service(web::to(forward))
    })
    .workers(2)
    .tcp_nodelay(true)
    .bind(("127.0.0.1", port.unwrap_or(8000)))?
    .run()
    .await
}
