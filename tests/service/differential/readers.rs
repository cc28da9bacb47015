//! Those that read the same bytes: nginx and HAProxy, as the documentation has them stand in front of the gateway. Each has one
//! listener for what it passes to the gateway, one for what it passes straight to an upstream, and one that tells how it reads
//! a path.

use crate::{programs::Program, support::free_port};

/// A proxy that runs.
pub(super) struct Proxy {
    _program: Program,
    /// The listener in front of the gateway.
    pub(super) in_front: String,
    /// The listener in front of an upstream.
    pub(super) alone: String,
    /// The listener that answers with the path that it reads, decoded and resolved as the proxy does that.
    pub(super) path: String,
}

impl Proxy {
    fn start(name: &str, configuration: impl FnOnce(&[String; 3]) -> String, arguments: &[&str]) -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let listeners = ports.map(|port| format!("127.0.0.1:{port}"));
        let text = configuration(&listeners);
        let program = Program::start(name, name, ports[2], |folder| {
            let file = folder.join("proxy.cfg").display().to_string();
            std::fs::write(&file, text).unwrap();
            let folder = folder.display().to_string();
            arguments.iter().map(|it| it.replace("FILE", &file).replace("FOLDER", &folder)).collect()
        });
        let [in_front, alone, path] = listeners;
        Self { _program: program, in_front, alone, path }
    }

    /// nginx in front of these two, as `docs/operations.md` has it, but without TLS. It keeps connections to both, so that one
    /// client's bytes could come before another's.
    pub(super) fn nginx(gateway: &str, upstream: &str) -> Self {
        let documented = include_str!("../../../docs/operations.md");
        let server = between(documented, "```nginx\n", "```\n");
        let server = &server[server.find("server {").unwrap()..];
        let server = without(server, &["ssl_certificate", "access_log"]);
        let configuration = |[in_front, alone, path]: &[String; 3]| {
            let server = |listener: &str, upstream: &str| {
                let server = replaced(&server, "listen 443 ssl;", &format!("listen {listener};"));
                replaced(&server, "http://127.0.0.1:8000;", &format!("http://{upstream};"))
            };
            format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr;
                events {{ worker_connections 256; }}
                http {{
                    access_log off;
                    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
                    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                    upstream gateway {{ server {gateway}; keepalive 2; }}
                    upstream upstream {{ server {upstream}; keepalive 2; }}
                    {}
                    {}
                    server {{ listen {path}; location / {{ default_type text/plain; return 200 $uri; }} }}
                }}",
                server(in_front, "gateway"),
                server(alone, "upstream"),
            )
        };
        Self::start("nginx", configuration, &["-p", "FOLDER", "-e", "stderr", "-c", "FILE"])
    }

    /// HAProxy in front of these two, as `docker/haproxy.cfg` has it, but for the names of its gateways. It uses every connection
    /// for anybody, so that one client's bytes could come before another's.
    pub(super) fn haproxy(gateway: &str, upstream: &str) -> Self {
        let documented = include_str!("../../../docker/haproxy.cfg");
        let start = &documented[..documented.find("resolvers docker").unwrap()];
        let frontend = between(documented, "frontend clients\n", "\nbackend gateways\n");
        let configuration = |[in_front, alone, path]: &[String; 3]| {
            let frontend = |listener: &str, name: &str| {
                let frontend = replaced(frontend, "bind :8000\n", &format!("bind {listener}\n"));
                let backend = format!("default_backend {name}s\n");
                format!("frontend {name}\n{}", replaced(&frontend, "default_backend gateways\n", &backend))
            };
            format!(
                "{start}
{}
{}
backend gateways
    http-reuse always
    server gateway {gateway}

backend upstreams
    http-reuse always
    server upstream {upstream}

frontend path
    bind {path}
    http-request return status 200 content-type text/plain lf-string %[path,url_dec]
",
                frontend(in_front, "gateway"),
                frontend(alone, "upstream"),
            )
        };
        Self::start("haproxy", configuration, &["-db", "-f", "FILE"])
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after}")).0
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

/// The text without the lines that begin with one of these words.
fn without(text: &str, words: &[&str]) -> String {
    let keeps = |line: &&str| !words.iter().any(|word| line.trim_start().starts_with(word));
    text.lines().filter(keeps).map(|line| format!("{line}\n")).collect()
}
