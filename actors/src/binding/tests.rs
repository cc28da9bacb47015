//! The rule on a real ledger and a real pool, with projects that answer as a test says.

use super::*;
use crate::{
    attempts::Failed,
    health::Health,
    key_manager::KeyManager,
    key_ring::Key,
    ledger::Ledger,
    store::Store,
    supervisor::Intensity,
    testing::{KeyOf, current, exact, in_system, manager, ring},
};
use gemini::{
    fault::{Fault, Kind, Wait},
    path::{CredentialForm, parse},
};
use http::{HeaderMap, StatusCode};
use keypool::{LeaseRequest, Outcome, Refusal};
use std::{cell::RefCell, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const THREE: &[KeyOf] = &[("a", None), ("b", None), ("c", None)];
const FILE: &str = "files/one";

/// What a project does with a question.
#[derive(Clone, Copy)]
enum Project {
    Has,
    HasNot,
    /// It answers after a while that it has it not.
    IsSlow,
    /// Its keys are refused for what they are.
    Refuses(Kind),
    /// It answers 503 so many times, and then that it has it.
    Overloaded(usize),
}

/// Projects that answer, and what they were asked: key and path.
struct Projects {
    does: fn(&str) -> Project,
    asked: RefCell<Vec<(String, String)>>,
}

fn failed(kind: Kind, status: u16) -> Failed<WholeAnswer> {
    let status = StatusCode::from_u16(status).unwrap();
    let fault = Fault { kind, wait: Wait::None, quotas: Vec::new(), project: None };
    let answer = WholeAnswer { status, headers: HeaderMap::new(), body: bytes::Bytes::new() };
    Failed { fault, status: Some(status), answer: Some(answer), failure: Failure::HeadLost }
}

impl AskProject for Projects {
    async fn ask(&self, _: &str, target: &Target, key: &Arc<Key>) -> Result<StatusCode, Failed<WholeAnswer>> {
        let id = key.id().as_str().to_owned();
        let before = self.asked.borrow().iter().filter(|(key, _)| *key == id).count();
        self.asked.borrow_mut().push((id.clone(), target.path.clone()));
        match (self.does)(&id) {
            Project::HasNot => Err(failed(Kind::ResourceUnreachable, 404)),
            Project::IsSlow => {
                sleep(60 * SECOND).await;
                Err(failed(Kind::ResourceUnreachable, 403))
            }
            Project::Refuses(kind) => {
                let failed = failed(kind, 403);
                Err(Failed { fault: Fault { wait: kind.row().wait, ..failed.fault }, ..failed })
            }
            Project::Overloaded(times) if before < times => Err(failed(Kind::Overloaded, 503)),
            Project::Has | Project::Overloaded(_) => Ok(StatusCode::OK),
        }
    }
}

struct Stage {
    keys: KeyManager,
    ledger: Ledger,
    projects: Projects,
    last_answers: LastAnswers<WholeAnswer>,
    record: AttemptRecord,
}

impl Stage {
    fn new(keys: &[KeyOf], does: fn(&str) -> Project) -> Self {
        let keys = current(keys);
        Self {
            keys: manager(&keys, exact()),
            ledger: Ledger::new(keys, 600 * SECOND),
            projects: Projects { does, asked: RefCell::default() },
            last_answers: LastAnswers::default(),
            record: AttemptRecord::since(std::time::Instant::now()),
        }
    }

    /// With a ledger whose store cannot be read.
    fn with_a_silent_ledger(keys: &[KeyOf]) -> Self {
        let stage = Self::new(keys, |_| Project::HasNot);
        let arbiter = actix_rt::Arbiter::current();
        let (folder, health) = (std::env::temp_dir(), Arc::new(Health::default()));
        stage.ledger.connect(Store::start(&arbiter, folder, Vec::new(), Intensity::default(), health));
        stage
    }

    fn holds(&self, name: &str, key: &str, maker: Option<&str>) {
        self.ledger.learn(name, self.keys.ring().find(&key.into()).unwrap(), maker, None);
    }

    fn rule(&self) -> BindingRule<'_, Projects> {
        BindingRule {
            ledger: &self.ledger,
            keys: &self.keys,
            limits: RetryLimits { max_attempts: 3, quota_deadline: 10 * SECOND, lease_deadline: 15 * SECOND },
            last_answers: &self.last_answers,
            record: &self.record,
            questions: &self.projects,
        }
    }

    async fn bind(
        &self,
        caller: &Caller,
        method: &str,
        path: &str,
        names: &[&str],
    ) -> Result<Binding, Unbound> {
        let target = parse(method, path, None, CredentialForm::GoogHeader).unwrap();
        self.rule().bind(Asker { id: "r1", caller, target: &target }, &mentions(names)).await
    }

    async fn check(&self, caller: &Caller, key: &str, names: &[&str]) -> Result<(), Unbound> {
        let target = parse("GET", "/v1beta/models", None, CredentialForm::GoogHeader).unwrap();
        self.rule().check(Asker { id: "r1", caller, target: &target }, &key.into(), &mentions(names)).await
    }

    /// The keys on which projects were asked, in their order.
    fn asked(&self) -> Vec<String> {
        let mut asked: Vec<_> = self.projects.asked.borrow().iter().map(|(key, _)| key.clone()).collect();
        asked.sort_unstable();
        asked
    }

    /// Ends a lease of this key with a fault.
    async fn fails(&self, key: &str, fault: Fault) {
        let request = LeaseRequest { reach: Reach::Only(key.into()), ..LeaseRequest::any(None) };
        let lease = self.keys.lease(request, Instant::now() + SECOND).await.unwrap();
        lease.settle(Outcome::Fault(fault), None);
        self.keys.snapshot(Instant::now() + SECOND).await.unwrap();
    }
}

fn mentions(names: &[&str]) -> Vec<Mention> {
    let mention = |name: &&str| Mention {
        name: OwnedName::parse(name).unwrap(),
        certainty: if name.starts_with("files") { Certainty::Certain } else { Certainty::Possible },
    };
    names.iter().map(mention).collect()
}

fn alice() -> Caller {
    Caller::named("alice", Visibility::Own)
}

fn operator() -> Caller {
    Caller::named("operator", Visibility::All)
}

fn project_of(key: &str) -> Reach {
    Reach::ProjectOf(key.into())
}

fn cooling() -> Fault {
    Fault { kind: Kind::ServiceDisabled, wait: Wait::Long, quotas: Vec::new(), project: None }
}

const GENERATE: &str = "/v1beta/models/m:generateContent";

#[test]
fn what_names_nothing_is_bound_to_nothing() {
    in_system(async {
        let stage = Stage::new(THREE, |_| Project::HasNot);
        for (method, path) in [("POST", GENERATE), ("GET", "/v1beta/models"), ("GET", "/v1beta/models/m")] {
            let binding = stage.bind(&alice(), method, path, &[]).await.unwrap();
            assert_eq!((binding.reach, binding.prefer), (Reach::Any, None), "{path}");
        }
        assert!(stage.asked().is_empty());
    });
}

#[test]
fn what_a_caller_made_binds_it_to_the_project_wherever_it_is_named() {
    in_system(async {
        let stage = Stage::new(THREE, |_| Project::HasNot);
        stage.holds(FILE, "b", Some("alice"));
        let in_path = stage.bind(&alice(), "GET", "/v1beta/files/one", &[]).await.unwrap();
        assert_eq!((in_path.reach, in_path.maker), (project_of("b"), Some(Some("alice".to_owned()))));
        let in_body = stage.bind(&alice(), "POST", GENERATE, &[FILE]).await.unwrap();
        assert_eq!((in_body.reach, in_body.maker), (project_of("b"), None));
        let below = stage.bind(&alice(), "GET", "/v1beta/files/one/x", &[FILE]).await.unwrap();
        assert_eq!((below.reach, below.name.as_deref()), (project_of("b"), Some(FILE)));
        assert!(stage.asked().is_empty());
    });
}

#[test]
fn what_another_made_does_not_exist_but_for_who_sees_all() {
    in_system(async {
        let stage = Stage::new(THREE, |_| Project::Has);
        for (name, path) in [(FILE, "/v1beta/files/one"), ("agents/a", "/v1beta/agents/a")] {
            stage.holds(name, "b", Some("bob"));
            for (method, path, mentions) in [("DELETE", path, &[][..]), ("POST", GENERATE, &[name])] {
                let hidden = stage.bind(&alice(), method, path, mentions).await;
                assert!(matches!(hidden, Err(Unbound::NotVisible(_))), "{hidden:?}");
                let binding = stage.bind(&operator(), method, path, mentions).await.unwrap();
                assert_eq!(binding.reach, project_of("b"));
            }
            let hidden = stage.check(&alice(), "b", &[name]).await;
            assert!(matches!(hidden, Err(Unbound::NotVisible(_))), "{hidden:?}");
            assert!(stage.check(&operator(), "b", &[name]).await.is_ok());
        }
        assert!(stage.asked().is_empty());
    });
}

#[test]
fn a_silent_ledger_refuses_who_sees_its_own_and_lets_pass_who_sees_all() {
    in_system(async {
        let stage = Stage::with_a_silent_ledger(THREE);
        for name in ["liveHandles/h", "voices/v", "agents/a"] {
            let refused = stage.bind(&alice(), "POST", GENERATE, &[name]).await;
            assert!(matches!(refused, Err(Unbound::LedgerSilent)), "{refused:?}");
            let refused = stage.check(&alice(), "a", &[name]).await;
            assert!(matches!(refused, Err(Unbound::LedgerSilent)), "{refused:?}");
            assert_eq!(stage.bind(&operator(), "POST", GENERATE, &[name]).await.unwrap().reach, Reach::Any);
            assert!(stage.check(&operator(), "a", &[name]).await.is_ok());
        }
        assert!(stage.bind(&alice(), "POST", GENERATE, &[]).await.is_ok(), "it names nothing");
    });
}

#[test]
fn two_projects_are_one_too_many() {
    in_system(async {
        let stage =
            Stage::new(&[("a", Some("p")), ("b", Some("p")), ("c", None), ("d", None)], |_| Project::HasNot);
        for (name, key) in [("files/a", "a"), ("files/b", "b"), ("files/c", "c"), ("files/d", "d")] {
            stage.holds(name, key, None);
        }
        let bind = async |names: &'static [&'static str]| stage.bind(&alice(), "POST", GENERATE, names).await;
        assert_eq!(bind(&["files/a", "files/b"]).await.unwrap().reach, project_of("a"));
        let Err(Unbound::TwoProjects(names)) = bind(&["files/b", "files/c"]).await else { panic!("bound") };
        assert_eq!(*names, ["files/b", "files/c"]);
        assert!(matches!(bind(&["files/c", "files/d"]).await, Err(Unbound::TwoProjects(_))));
        assert!(stage.check(&alice(), "a", &["files/b"]).await.is_ok());
        let elsewhere = stage.check(&alice(), "c", &["files/c", "files/d"]).await;
        assert!(matches!(elsewhere, Err(Unbound::Elsewhere(name)) if name == "files/d"));
        // Google names one project for both.
        for key in ["c", "d"] {
            let named = Fault { kind: Kind::Client, project: Some("7".into()), ..cooling() };
            stage.fails(key, Fault { wait: Wait::None, ..named }).await;
        }
        assert_eq!(bind(&["files/c", "files/d"]).await.unwrap().reach, project_of("c"));
        assert!(stage.check(&alice(), "c", &["files/d"]).await.is_ok());
    });
}

#[test]
fn what_belongs_to_a_key_that_is_gone_is_told_as_such_and_never_by_a_secret() {
    in_system(async {
        let others = ring(&[("gone", None)]);
        let stage = Stage::new(THREE, |_| Project::HasNot);
        for (name, told) in [
            (FILE, FILE),
            ("liveHandles/secret", "the resumption handle"),
            ("continuationTokens/secret", "the continuation token"),
        ] {
            let entry = ledger_name(&OwnedName::parse(name).unwrap());
            stage.ledger.learn(&entry, &others.keys()[0], Some("alice"), None);
            let gone = stage.bind(&alice(), "POST", GENERATE, &[name]).await;
            assert!(matches!(gone, Err(Unbound::OwnerGone(name)) if name == told));
            let gone = stage.check(&alice(), "a", &[name]).await;
            assert!(matches!(gone, Err(Unbound::OwnerGone(name)) if name == told));
        }
    });
}

#[test]
fn what_the_ledger_does_not_know_is_asked_of_each_project_once() {
    in_system(async {
        let stage = Stage::new(THREE, |key| if key == "c" { Project::Has } else { Project::HasNot });
        let binding = stage.bind(&alice(), "POST", GENERATE, &[FILE]).await.unwrap();
        assert_eq!(binding.reach, project_of("c"));
        assert_eq!(stage.asked(), ["a", "b", "c"]);
        let again = stage.bind(&alice(), "GET", "/v1beta/files/one", &[]).await.unwrap();
        assert_eq!((again.reach, again.maker), (project_of("c"), Some(None)), "made outside");
        let paths: Vec<_> = stage.projects.asked.borrow().iter().map(|(_, path)| path.clone()).collect();
        assert_eq!(paths, ["/v1beta/files/one"; 3]);
    });
}

#[test]
fn names_that_are_made_up_cost_a_bounded_number_of_questions() {
    in_system(async {
        let stage = Stage::new(THREE, |_| Project::HasNot);
        stage.holds("files/known", "b", Some("alice"));
        let mut names: Vec<String> = (0..200).map(|n| format!("files/made-up-{n}")).collect();
        names.push("files/known".to_owned());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let binding = stage.bind(&alice(), "POST", GENERATE, &names).await.unwrap();
        assert_eq!(binding.reach, project_of("b"), "what the ledger holds counts wherever it stands");
        assert_eq!(stage.asked().len(), MOST_ASKED * 3);
    });
}

#[test]
fn each_question_is_recorded_and_what_nobody_has_is_not_asked_for_again() {
    in_system(async {
        let stage = Stage::new(THREE, |_| Project::HasNot);
        for _ in 0..3 {
            let binding = stage.bind(&alice(), "GET", "/v1beta/files/one", &[]).await.unwrap();
            assert_eq!(binding.reach, Reach::Any);
        }
        assert_eq!(stage.asked(), ["a", "b", "c"]);
        let attempts = stage.record.into_attempts();
        assert!(attempts.iter().all(|attempt| attempt.status == Some(404)), "{attempts:?}");
        assert_eq!(attempts.len(), 3);
    });
}

#[test]
fn a_question_pauses_and_asks_again_as_every_attempt_does() {
    for (times, asked) in [(1, 2), (2, 3)] {
        in_system(async move {
            let does =
                if times == 1 { |_: &str| Project::Overloaded(1) } else { |_: &str| Project::Overloaded(2) };
            let stage = Stage::new(&[("a", None), ("b", None)], does);
            let begun = Instant::now();
            assert!(stage.bind(&alice(), "POST", GENERATE, &[FILE]).await.is_ok());
            assert!(begun.elapsed() >= SECOND / 10, "no pause");
            assert!(stage.asked().len() >= asked, "{:?}", stage.asked());
        });
    }
}

#[test]
fn the_project_that_has_it_is_not_kept_waiting_by_another() {
    in_system(async {
        let stage = Stage::new(THREE, |key| if key == "b" { Project::Has } else { Project::IsSlow });
        let begun = Instant::now();
        assert_eq!(stage.bind(&alice(), "POST", GENERATE, &[FILE]).await.unwrap().reach, project_of("b"));
        assert!(begun.elapsed() < SECOND);
    });
}

#[test]
fn a_project_that_cannot_be_asked_leaves_unclear_only_what_has_an_owner() {
    in_system(async {
        let stage = Stage::new(THREE, |_| Project::HasNot);
        stage.fails("b", cooling()).await;
        for path in ["/v1beta/files/x", "/v1beta/cachedContents/x", "/v1beta/batches/x"] {
            let unclear = stage.bind(&alice(), "GET", path, &[]).await;
            let Err(Unbound::Unclear(ended)) = unclear else { panic!("{path}: {unclear:?}") };
            assert!(matches!(ended.failure, Failure::NoKey(Refusal::Cooling { .. })), "{ended:?}");
        }
        for path in ["/v1beta/agents/x", "/v1beta/voices/x", "/v1beta/no/such/path", "/v1beta/file/x"] {
            assert_eq!(stage.bind(&alice(), "GET", path, &[]).await.unwrap().reach, Reach::Any, "{path}");
        }
    });
}

#[test]
fn only_what_has_an_owner_waits_for_a_project_that_is_soon_back() {
    for (path, waits) in [
        ("/v1beta/files/x", true),
        ("/v1beta/fileSearchStores/x", true),
        ("/v1beta/voices/x", false),
        ("/v1beta/environments/x", false),
        ("/v1beta/no/such/path", false),
    ] {
        in_system(async move {
            let stage = Stage::new(THREE, |_| Project::HasNot);
            stage.fails("b", Fault { wait: Wait::For(5 * SECOND), ..cooling() }).await;
            let begun = Instant::now();
            assert!(stage.bind(&alice(), "GET", path, &[]).await.is_ok(), "{path}");
            assert_eq!(begun.elapsed() >= 5 * SECOND, waits, "{path}");
        });
    }
}

#[test]
fn what_is_said_of_a_key_says_nothing_of_the_resource() {
    in_system(async {
        let stage = Stage::new(THREE, |key| match key {
            "b" => Project::Refuses(Kind::KeyRestricted),
            _ => Project::HasNot,
        });
        let unclear = stage.bind(&alice(), "GET", "/v1beta/files/one", &[]).await;
        assert!(matches!(unclear, Err(Unbound::Unclear(_))), "{unclear:?}");
        let stage = Stage::new(THREE, |key| match key {
            "b" => Project::Refuses(Kind::MethodBlocked),
            _ => Project::HasNot,
        });
        let unclear = stage.bind(&alice(), "GET", "/v1beta/files/one", &[]).await;
        assert!(matches!(unclear, Err(Unbound::Unclear(_))), "{unclear:?}");
        let stage = Stage::new(THREE, |key| match key {
            "b" => Project::Refuses(Kind::KeyInvalid),
            _ => Project::HasNot,
        });
        // Whose last key is retired cannot be asked before its operator does something.
        assert!(stage.bind(&alice(), "GET", "/v1beta/files/one", &[]).await.is_ok());
    });
}

#[test]
fn a_session_that_has_its_key_asks_nobody() {
    in_system(async {
        let stage = Stage::new(THREE, |_| Project::Has);
        assert!(stage.check(&alice(), "a", &["files/unknown", "voices/v", "liveHandles/h"]).await.is_ok());
        assert!(stage.asked().is_empty());
    });
}

#[test]
fn what_a_caller_makes_goes_where_it_has_made_something_unless_it_is_bound() {
    in_system(async {
        let stage = Stage::new(THREE, |_| Project::HasNot);
        stage.ledger.created(&"alice".into(), &"c".into());
        stage.holds(FILE, "b", None);
        let made = stage.bind(&alice(), "POST", "/v1beta/cachedContents", &[]).await.unwrap();
        assert_eq!((made.reach, made.prefer), (Reach::Any, Some("c".into())));
        let of_file = stage.bind(&alice(), "POST", "/v1beta/cachedContents", &[FILE]).await.unwrap();
        assert_eq!((of_file.reach, of_file.prefer), (project_of("b"), None));
        let generates = stage.bind(&alice(), "POST", GENERATE, &[]).await.unwrap();
        assert_eq!(generates.prefer, None);
    });
}

#[test]
fn only_where_a_name_binds_is_a_pool_without_keys_the_owners() {
    let bound = Binding { name: Some(FILE.to_owned()), ..Binding::default() };
    for unusable in [Refusal::AllRetired, Refusal::AllDisabled, Refusal::NoneAllowed] {
        let unusable = || Failure::NoKey(unusable.clone());
        assert_eq!(bound.failure(unusable()), Failure::OwnerGone(FILE.into()));
        assert_eq!(Binding::default().failure(unusable()), unusable());
    }
    assert_eq!(bound.failure(Failure::HeadLost), Failure::HeadLost);
}
