//! `gemini-balance demo`: the service on a simulated Gemini API with a few made-up keys. Of the configuration it
//! reads the port only, so that real keys in the environment are never touched.

use super::failure::Failure;
use crate::{
    service::Service,
    settings::{self, Environment, KeyEntry, TokenEntry},
};
use gemini_simulator::{Config, Key, KeyState, Shape, Simulator};
use std::{net::SocketAddr, path::Path, process::ExitCode};

/// The token that the demo's clients use.
const TOKEN: &str = "demo-token";

/// The demo's flags.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// The port to listen on; 0 for any [default: server.port]
    #[arg(long)]
    port: Option<u16>,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
}

/// Runs the demo until it is told to stop. `configuration` is the file named on the command line.
pub(super) fn run(flags: &Flags, configuration: Option<&Path>) -> Result<ExitCode, Failure> {
    let host = settings::listen_host("--host", &flags.host)?;
    let port = match flags.port {
        Some(port) => port,
        None => settings::port(configuration, &Environment::of_process())?,
    };
    let keys =
        [("demo-1", "project-a"), ("demo-2", "project-a"), ("demo-3", "project-b"), ("demo-4", "project-c")];
    let config = Config {
        keys: keys
            .iter()
            .map(|(name, project)| Key {
                secret: format!("simulated-key-{name}"),
                project: (*project).to_owned(),
                state: KeyState::Valid,
            })
            .collect(),
        shape: Shape { events: 8, interval_ms: 150, ..Shape::default() },
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let simulator = runtime.block_on(Simulator::start(config))?;
    let mut settings = settings::demo(&simulator.url())?;
    settings.server.host = host;
    settings.server.port = port;
    settings.auth.tokens =
        vec![TokenEntry { name: "demo".to_owned(), secret: TOKEN.to_owned(), ..TokenEntry::default() }];
    settings.keys = keys
        .iter()
        .map(|(name, project)| KeyEntry {
            label: Some((*name).to_owned()),
            secret: format!("simulated-key-{name}"),
            secret_file: None,
            project: Some((*project).to_owned()),
            weight: 1,
        })
        .collect();
    let code = Service::run(settings, |address| print_commands(address, &simulator.url()));
    runtime.block_on(simulator.stop());
    code
}

#[expect(clippy::print_stdout, reason = "the demo speaks to a person")]
fn print_commands(address: SocketAddr, simulator: &str) {
    let base = format!("http://{address}");
    println!(
        r#"
The gateway listens on {base}, on four simulated keys of three projects. Try:

  curl {base}/v1beta/models/gemini-2.5-flash:generateContent -H 'x-goog-api-key: {TOKEN}' \
    -H 'content-type: application/json' -d '{{"contents":[{{"parts":[{{"text":"Hello"}}]}}]}}'

  curl -N '{base}/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse' -H 'x-goog-api-key: {TOKEN}' \
    -H 'content-type: application/json' -d '{{"contents":[{{"parts":[{{"text":"Count to eight"}}]}}]}}'

  curl {base}/v1/chat/completions -H 'Authorization: Bearer {TOKEN}' \
    -H 'content-type: application/json' -d '{{"model":"gemini-2.5-flash","messages":[{{"role":"user","content":"Hello"}}]}}'

  curl {base}/health/ready

The API page is at {base}/docs, the simulated Gemini API at {simulator}. Ctrl-C ends both.
"#
    );
}
