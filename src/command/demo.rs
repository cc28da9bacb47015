//! `gemini-balance demo`: the service on a simulated Gemini API with a few made-up keys, and some made-up callers. Of the
//! configuration it reads the port only, so that real keys in the environment are never touched.

mod traffic;

use self::traffic::Traffic;
use super::failure::Failure;
use crate::{
    operator::Sessions,
    service::Service,
    settings::{self, Environment, KeyEntry, TokenEntry},
};
use gemini_simulator::{Config, Fault, Key, KeyState, Quota, Rule, Shape, Simulator};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

/// The token that the demo's clients use.
const TOKEN: &str = "demo-token";
/// The token of the demo's operator. It opens a made-up gateway on this machine, and is no secret.
const ADMIN: &str = "demo-admin-token";
/// A model of which Google's projects may use little, so that there is something to balance.
const SCARCE: &str = "gemini-2.5-pro";
/// How often in a minute.
const SCARCE_RPM: u64 = 4;

/// The demo's flags.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// The port to listen on; 0 for any [default: server.port]
    #[arg(long)]
    port: Option<u16>,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Send no made-up requests
    #[arg(long)]
    no_traffic: bool,
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
        quotas: vec![Quota { model: Some(SCARCE.to_owned()), rpm: Some(SCARCE_RPM), ..Quota::default() }],
        // Overloaded now and then, as Google's models are.
        faults: vec![Rule::new(Fault::status(503)).on_model("gemini-2.5-flash-lite").times(2)],
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let simulator = runtime.block_on(Simulator::start(config))?;
    let operator_port = operator_port(port)?;
    // Quoted as in TOML, which takes these escapes as well.
    let mut settings = settings::demo(&format!(
        "[server]\nhost = {host:?}\nport = {port}\n[admin]\nport = {operator_port}\n[upstream]\ngemini_base_url = {:?}\n\
         [store]\npath = \"\"\n[usage]\npath = \"\"\n",
        simulator.url()
    ))?;
    ADMIN.clone_into(&mut settings.admin.token);
    let operator = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.admin.port));
    settings.auth.tokens =
        vec![TokenEntry { name: "demo".to_owned(), secret: TOKEN.to_owned(), ..TokenEntry::default() }];
    settings.auth.tokens.extend(traffic::tokens());
    settings.keys = keys
        .iter()
        .map(|(name, project)| KeyEntry {
            label: Some((*name).to_owned()),
            secret: format!("simulated-key-{name}"),
            secret_file: None,
            project: Some((*project).to_owned()),
            weight: 1,
            enabled: true,
        })
        .collect();
    let mut traffic = None;
    let sessions = Arc::new(Sessions::default());
    let code = sessions.one_time_code(Instant::now());
    let code = Service::run(settings, sessions, |address| {
        print_page(operator, code.as_deref());
        print_commands(address, operator, &simulator.url());
        if !flags.no_traffic {
            traffic = Some(Traffic::start(address, operator, print_example));
        }
    });
    drop(traffic);
    runtime.block_on(simulator.stop());
    code
}

/// The operator's port: the one after the clients', if it is free, else any that is.
fn operator_port(clients: u16) -> Result<u16, Failure> {
    let next = clients.checked_add(1).filter(|_| clients != 0).unwrap_or(0);
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, next))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(bound.local_addr()?.port())
}

/// What to type for this program, wherever it was built.
fn program() -> String {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("gemini-balance"));
    let near = here.and_then(|here| program.strip_prefix(here).ok().map(|path| Path::new(".").join(path)));
    near.unwrap_or(program).display().to_string()
}

/// A request of the made-up callers that has a story.
fn print_example(id: &str) {
    out_line!("\nOne request was refused on a key and answered on another. Why, and what was passed over:\n");
    out_line!("  {} explain {id}\n", program());
}

/// The page's address, which opens it once without the token.
fn print_page(operator: SocketAddr, code: Option<&str>) {
    let code = code.map(|code| format!("#login={code}")).unwrap_or_default();
    out_line!("\nThe operator's page, logged in once by this link (later with the token {ADMIN}):\n");
    out_line!("  http://{operator}/{code}");
}

fn print_commands(address: SocketAddr, operator: SocketAddr, simulator: &str) {
    let base = format!("http://{address}");
    let (port, program) = (operator.port(), program());
    out_line!(
        r#"
The gateway listens on {base}, on four simulated keys of three projects. Try:

  curl {base}/v1beta/models/gemini-2.5-flash:generateContent -H 'x-goog-api-key: {TOKEN}' \
    -H 'content-type: application/json' -d '{{"contents":[{{"parts":[{{"text":"Hello"}}]}}]}}'

  curl -N '{base}/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse' -H 'x-goog-api-key: {TOKEN}' \
    -H 'content-type: application/json' -d '{{"contents":[{{"parts":[{{"text":"Count to eight"}}]}}]}}'

  curl {base}/v1/chat/completions -H 'Authorization: Bearer {TOKEN}' \
    -H 'content-type: application/json' -d '{{"model":"gemini-2.5-flash","messages":[{{"role":"user","content":"Hello"}}]}}'

  curl {base}/health/ready

As its operator, in another terminal (three made-up callers send requests for five minutes):

  export ADMIN_TOKEN={ADMIN} GEMINI_BALANCE__ADMIN__PORT={port}
  {program} usage --by caller,model
  {program} keys
  {program} tokens

The API page is at {base}/docs, the simulated Gemini API at {simulator}. Ctrl-C ends both.
"#
    );
}
