//! The pool's projects, each with a key to name it by.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use gemini::fault::{Fault, Kind, Wait};
use keypool::{Answer, KeyId, KeySpec, LeaseRequest, Outcome, ProjectView, Reach};
use stage::{MODEL, Stage, exact, fault, labelled, model};

fn stage() -> Stage {
    let specs = vec![
        labelled("a", "one"),
        KeySpec::new("b"),
        labelled("c", "two"),
        labelled("d", "one"),
        labelled("e", "two"),
    ];
    Stage::new(exact(), specs)
}

fn serve(stage: &mut Stage, id: &str, outcome: Outcome) {
    let request = LeaseRequest { reach: Reach::Only(KeyId::from(id)), ..LeaseRequest::any(model(MODEL)) };
    let Answer::Granted(grant) = stage.ask(&request) else { panic!("no grant of {id}") };
    stage.settle(&grant, MODEL, outcome);
}

fn view(first: &str, key: &str, usable: bool) -> ProjectView {
    let keys = match first {
        "a" => &["a", "d"][..],
        "b" => &["b"],
        _ => &["c", "e"],
    };
    let keys = keys.iter().map(|key| KeyId::from(*key)).collect();
    ProjectView { first: first.into(), key: key.into(), usable, retired: !usable, keys }
}

#[test]
fn each_project_is_named_once_in_the_order_of_the_keys() {
    let stage = stage();
    assert_eq!(stage.pool.projects(), [view("a", "a", true), view("b", "b", true), view("c", "c", true)]);
}

#[test]
fn a_project_is_asked_on_a_key_that_is_not_retired_and_keeps_its_name() {
    let mut stage = stage();
    serve(&mut stage, "a", fault(Kind::KeyInvalid, Wait::Retire));
    assert_eq!(stage.pool.projects()[0], view("a", "d", true));
    stage.pool.disable(&"d".into(), stage.now, &mut stage.effects).unwrap();
    assert_eq!(stage.pool.projects()[0], view("a", "a", false));
    stage.pool.reset(&"a".into(), stage.now, &mut stage.effects).unwrap();
    assert_eq!(stage.pool.projects()[0], view("a", "a", true));
}

#[test]
fn a_project_is_usable_while_it_cools_and_not_once_it_is_retired() {
    let mut stage = stage();
    serve(&mut stage, "b", fault(Kind::CreditsGone, Wait::Long));
    serve(&mut stage, "c", fault(Kind::BillingDisabled, Wait::Retire));
    assert_eq!(stage.pool.projects(), [view("a", "a", true), view("b", "b", true), view("c", "c", false)]);
}

#[test]
fn keys_that_turn_out_to_be_of_one_project_are_one() {
    let mut stage = stage();
    for id in ["b", "c"] {
        let named =
            Fault { kind: Kind::Client, wait: Wait::None, quotas: Vec::new(), project: Some("7".into()) };
        serve(&mut stage, id, Outcome::Fault(named));
    }
    let keys = ["b", "c", "e"].map(KeyId::from).to_vec();
    let both = ProjectView { keys, ..view("b", "b", true) };
    assert_eq!(stage.pool.projects(), [view("a", "a", true), both]);
}

#[test]
fn keys_share_a_project_by_label_and_then_by_the_number_that_google_names() {
    let mut stage = stage();
    let shares =
        |stage: &Stage, one: &str, other: &str| stage.pool.share_a_project(&one.into(), &other.into());
    assert!(shares(&stage, "a", "d") && shares(&stage, "b", "b"));
    assert!(!shares(&stage, "a", "b") && !shares(&stage, "b", "c"));
    for (id, number) in [("b", "7"), ("c", "7"), ("d", "8")] {
        let named =
            Fault { kind: Kind::Client, wait: Wait::None, quotas: Vec::new(), project: Some(number.into()) };
        serve(&mut stage, id, Outcome::Fault(named));
    }
    assert!(
        shares(&stage, "b", "c") && shares(&stage, "c", "e"),
        "the number wins over what was not labelled"
    );
    assert!(!shares(&stage, "b", "d"));
    assert!(
        !shares(&stage, "gone", "gone") && !shares(&stage, "a", "gone"),
        "who is not here shares nothing"
    );
}
