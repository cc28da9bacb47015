//! Quotas that belong to a tool: what cools when one is used up, and what goes on.

mod stage;

use gemini::fault::{Kind, Wait};
use keypool::{Answer, KeyId, KeyState, LeaseRequest, Outcome, Refusal, Role, Tool, Tools};
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, secs};

const SEARCH: Tools = Tools::NONE.with(Tool::GoogleSearch);

fn request(tools: Tools) -> LeaseRequest {
    LeaseRequest { tools, may_wait: false, ..LeaseRequest::any(model(MODEL)) }
}

fn used_up() -> Outcome {
    fault(Kind::QuotaUnnamed, Wait::For(secs(60)))
}

/// Leases for a request with these tools and settles at once.
fn serve(stage: &mut Stage, tools: Tools, outcome: Outcome) -> Role {
    let Answer::Granted(grant) = stage.ask(&request(tools)) else { panic!("no grant") };
    stage.settle(&grant, MODEL, outcome);
    grant.role
}

#[test]
fn a_tools_quota_closes_the_tool_on_the_project_and_nothing_else() {
    let mut stage = Stage::new(exact(), vec![labelled("a", "p"), labelled("b", "p")]);
    serve(&mut stage, SEARCH, used_up());
    let refused = Answer::Refused(Refusal::Cooling { back_in: secs(60), quota: None });
    assert_eq!(stage.ask(&request(SEARCH)), refused);
    assert_eq!(
        stage.ask(&LeaseRequest { model: model("other"), ..request(SEARCH) }),
        refused,
        "whatever the model"
    );
    serve(&mut stage, Tools::NONE, Outcome::Success);
    serve(&mut stage, Tools::NONE.with(Tool::UrlContext), Outcome::Success);
    let keys = stage.pool.snapshot(stage.now).keys;
    assert!(
        keys.iter().all(|key| key.state == KeyState::Available && key.tools[0].tool == Tool::GoogleSearch)
    );
    assert_eq!(
        stage.events(),
        ["google_search on project p cools for 60.0 s: the tool's quota is used up (met by key a)"]
    );
}

#[test]
fn another_project_serves_the_tool() {
    let mut stage = Stage::new(exact(), keys(2));
    serve(&mut stage, SEARCH, used_up());
    for _ in 0..3 {
        let Answer::Granted(grant) = stage.ask(&request(SEARCH)) else { panic!("no grant") };
        assert_eq!(grant.key, KeyId::from("k1"));
    }
}

#[test]
fn of_two_tools_both_cool_since_google_names_none() {
    let mut stage = Stage::new(exact(), keys(1));
    serve(&mut stage, SEARCH.with(Tool::UrlContext), used_up());
    assert!(matches!(stage.ask(&request(SEARCH)), Answer::Refused(_)));
    assert!(matches!(stage.ask(&request(Tools::NONE.with(Tool::UrlContext))), Answer::Refused(_)));
}

#[test]
fn a_tool_comes_back_by_a_probe_of_its_own() {
    let mut stage = Stage::new(exact(), keys(1));
    serve(&mut stage, SEARCH, used_up());
    stage.pass(secs(60));
    let Answer::Granted(probe) = stage.ask(&request(SEARCH)) else { panic!("no grant") };
    assert_eq!(probe.role, Role::Probe);
    assert_eq!(serve(&mut stage, Tools::NONE, Outcome::Success), Role::Ordinary);
    assert!(matches!(stage.ask(&request(SEARCH)), Answer::Refused(_)));
    stage.settle(&probe, MODEL, Outcome::Success);
    assert_eq!(serve(&mut stage, SEARCH, Outcome::Success), Role::Ordinary);
}

#[test]
fn one_who_waits_for_a_tool_is_served_when_it_is_back() {
    let mut stage = Stage::new(exact(), keys(1));
    serve(&mut stage, SEARCH, fault(Kind::QuotaUnnamed, Wait::For(secs(10))));
    let Answer::Waiting(ticket) = stage.ask(&LeaseRequest { may_wait: true, ..request(SEARCH) }) else {
        panic!()
    };
    stage.pass(secs(10));
    assert_eq!(stage.answers(), [(secs(110), ticket, Ok(KeyId::from("k0")))]);
}
