//! Who is let in: by which of several sources, with which secret, until when; and what is kept of it.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::sync::Arc;
use std::time::Duration;

use callers::{
    CallerLimits, CallerSpec, Denial, Directory, DirectoryError, Door, Ending, Globs, Identity, InstanceKey,
    KeptToken, ModelShown, PoolKey, Provenance, SpecError, SurfaceName, TokenChange, TokenState, Visibility,
};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use gemini::path::Surface;
use meter::Now;

const KEY: [u8; 32] = [9; 32];

fn start() -> DateTime<Utc> {
    "2026-07-15T12:00:00Z".parse().unwrap()
}

fn at(seconds: u32) -> Now {
    let seconds = Duration::from_secs(seconds.into());
    Now { mono: seconds, wall: start() + seconds }
}

fn directory() -> Directory {
    Directory::new(InstanceKey::new(&KEY), Tz::UTC)
}

/// Other 32 bytes each time.
fn random(seed: u8) -> [u8; 32] {
    std::array::from_fn(|at| seed.wrapping_mul(31).wrapping_add(u8::try_from(at).unwrap()))
}

/// Makes a token; what it is and what is kept of it.
fn add(directory: &Directory, name: &str, seed: u8) -> (String, Vec<TokenChange>) {
    let (token, changes) = directory.add(CallerSpec::new(name), &random(seed), at(0)).unwrap();
    (token.expose().to_owned(), changes)
}

/// The name that a token stands for, and whether it may call.
fn who(directory: &Directory, token: &str, now: Now) -> Option<(String, Result<(), Denial>)> {
    let Identity { caller, standing } = directory.identify(token.as_bytes(), now.wall)?;
    Some((caller.spec().name.to_string(), standing))
}

fn alice(standing: Result<(), Denial>) -> (String, Result<(), Denial>) {
    ("alice".to_owned(), standing)
}

#[test]
fn tokens_that_were_chosen_elsewhere_are_taken_over_all_or_none() {
    let directory = directory();
    let (made, _) = add(&directory, "alice", 1);
    directory.rotate("alice", &random(2), Duration::from_secs(60), at(0)).unwrap();
    directory.set_given([(CallerSpec::new("bob"), &b"a-secret-of-the-configuration"[..])]);
    let take = |tokens: &[(&str, &str)]| {
        let tokens = tokens.iter().map(|(name, secret)| (CallerSpec::new(name), secret.as_bytes()));
        directory.take_over(tokens, at(0))
    };
    let good = ("one", "chosen-by-hand-01");
    for (bad, error) in [
        (("two", "chosen-by-hand-"), DirectoryError::TooShort),
        (("alice", "chosen-by-hand-02"), DirectoryError::NameTaken),
        (("one", "chosen-by-hand-02"), DirectoryError::NameTaken),
        (("bob", "chosen-by-hand-02"), DirectoryError::Given),
        (("two", good.1), DirectoryError::SecretTaken),
        (("two", "a-secret-of-the-configuration"), DirectoryError::SecretTaken),
        (("two", made.as_str()), DirectoryError::SecretTaken),
        (("operator", "chosen-by-hand-02"), DirectoryError::Spec(SpecError::ReservedName)),
    ] {
        assert_eq!(take(&[good, bad]).unwrap_err(), error, "{bad:?}");
        assert!(who(&directory, good.1, at(0)).is_none(), "{bad:?}");
    }
    assert_eq!(take(&[]).unwrap(), []);
    let changes = take(&[good, ("two", "chosen-by-hand-02")]).unwrap();
    assert_eq!(changes.len(), 3, "the mark that there was a token, and two of them");
    let again = self::directory();
    assert!(again.restore(changes));
    for directory in [&directory, &again] {
        assert_eq!(who(directory, "chosen-by-hand-02", at(0)), Some(("two".to_owned(), Ok(()))));
        assert!(!directory.opens_to_pool_keys());
    }
}

#[test]
fn a_token_is_let_in_from_the_moment_it_is_made_and_no_other_is() {
    let directory = directory();
    let (token, _) = add(&directory, "alice", 1);
    assert!(token.starts_with("gbt_") && token.len() == 47);
    assert_eq!(who(&directory, &token, at(0)), Some(alice(Ok(()))));
    for wrong in ["", "alice", &token[1..], &token[..46], &token.to_uppercase(), &format!("{token}A")] {
        assert!(who(&directory, wrong, at(0)).is_none(), "{wrong}");
    }
    let named = directory.named("alice", at(0).wall).unwrap();
    assert_eq!((&*named.caller.spec().name, named.standing), ("alice", Ok(())));
    assert!(directory.named("bob", at(0).wall).is_none());
}

#[test]
fn a_disabled_an_expired_and_a_removed_token_are_refused_at_once() {
    let directory = directory();
    let (token, _) = add(&directory, "alice", 1);
    directory.enable("alice", false).unwrap();
    assert_eq!(who(&directory, &token, at(1)), Some(alice(Err(Denial::Disabled))));
    assert_eq!(directory.named("alice", at(1).wall).unwrap().standing, Err(Denial::Disabled));
    directory.enable("alice", true).unwrap();
    assert_eq!(who(&directory, &token, at(1)), Some(alice(Ok(()))));
    let mut spec = CallerSpec::new("alice");
    spec.expires = Some(at(10).wall);
    directory.revise(spec).unwrap();
    assert_eq!(who(&directory, &token, at(9)), Some(alice(Ok(()))));
    assert_eq!(who(&directory, &token, at(10)), Some(alice(Err(Denial::Expired))));
    directory.remove("alice").unwrap();
    assert_eq!(who(&directory, &token, at(9)), None);
    assert_eq!(directory.remove("alice"), Err(DirectoryError::Unknown));
    assert_eq!(directory.enable("alice", true), Err(DirectoryError::Unknown));
}

#[test]
fn a_replaced_secret_is_let_in_for_its_grace() {
    let directory = directory();
    let (first, _) = add(&directory, "alice", 1);
    let rotate = |seed, now| {
        let (token, _) = directory.rotate("alice", &random(seed), Duration::from_secs(100), now).unwrap();
        token.expose().to_owned()
    };
    let second = rotate(2, at(0));
    let third = rotate(3, at(50));
    assert_eq!(who(&directory, &first, at(99)), Some(alice(Ok(()))));
    assert_eq!(who(&directory, &first, at(100)), Some(alice(Err(Denial::Expired))));
    assert_eq!(who(&directory, &second, at(149)), Some(alice(Ok(()))));
    assert_eq!(who(&directory, &second, at(150)), Some(alice(Err(Denial::Expired))));
    assert_eq!(who(&directory, &third, at(1_000)), Some(alice(Ok(()))));
    let listed = directory.list(at(60));
    assert_eq!(listed[0].former_until, Some(at(150).wall));
    // All of them count on one account.
    let of = |token: &str| directory.identify(token.as_bytes(), at(60).wall).unwrap().caller;
    let door = Door { surface: Surface::Native, model: ModelShown::None, spends: false };
    let pass = of(&first).admit(door, at(60)).unwrap();
    assert_eq!(of(&third).read(at(60)).in_flight, 1);
    pass.settle(Ending::GivenBack, at(60));
    // No grace at all.
    directory.rotate("alice", &random(4), Duration::ZERO, at(200)).unwrap();
    assert_eq!(who(&directory, &third, at(200)), None);
}

#[test]
fn no_replaced_secret_outlives_the_grace_of_the_newest_rotation() {
    let directory = directory();
    let (first, _) = add(&directory, "alice", 1);
    let rotate = |seed, grace, now| {
        let (token, changes) =
            directory.rotate("alice", &random(seed), Duration::from_secs(grace), now).unwrap();
        (token.expose().to_owned(), changes)
    };
    let (second, _) = rotate(2, 86_400, at(0));
    let (third, _) = rotate(3, 60, at(10));
    for former in [&first, &second] {
        assert_eq!(who(&directory, former, at(69)), Some(alice(Ok(()))));
        assert_eq!(who(&directory, former, at(70)), Some(alice(Err(Denial::Expired))));
    }
    assert_eq!(directory.list(at(20))[0].former_until, Some(at(70).wall));
    // A longer one gives none of them time back.
    let (fourth, _) = rotate(4, 86_400, at(20));
    assert_eq!(who(&directory, &first, at(70)), Some(alice(Err(Denial::Expired))));
    assert_eq!(who(&directory, &third, at(80_000)), Some(alice(Ok(()))));
    let (fifth, changes) = rotate(5, 0, at(30));
    for (former, n) in [&first, &second, &third, &fourth].into_iter().zip(1..) {
        assert_eq!(who(&directory, former, at(30)), None, "{n}");
    }
    assert_eq!(who(&directory, &fifth, at(30)), Some(alice(Ok(()))));
    assert_eq!(directory.list(at(30))[0].former_until, None);
    // So it is kept, and told to the other gateways, one of which still has them.
    let [TokenChange::Put(token)] = &changes[..] else { panic!("{changes:?}") };
    assert!(token.former.is_empty());
}

#[test]
fn many_rotations_within_the_grace_keep_the_newest() {
    let directory = directory();
    let (mut token, _) = add(&directory, "alice", 1);
    let mut all = vec![token];
    for seed in 2..10 {
        let day = Duration::from_secs(86_400);
        token = directory.rotate("alice", &random(seed), day, at(seed.into())).unwrap().0.expose().to_owned();
        all.push(token);
    }
    let known: Vec<_> = all.iter().map(|token| who(&directory, token, at(20)).is_some()).collect();
    assert_eq!(known, [false, false, false, false, true, true, true, true, true]);
}

#[test]
fn the_configuration_comes_before_what_was_made() {
    let directory = directory();
    directory.set_given([(CallerSpec::new("alice"), &b"from a file"[..])]);
    assert_eq!(
        directory.add(CallerSpec::new("alice"), &random(1), at(0)).unwrap_err(),
        DirectoryError::Given
    );
    assert_eq!(directory.remove("alice"), Err(DirectoryError::Given));
    assert_eq!(directory.enable("alice", false), Err(DirectoryError::Given));
    let (bob, _) = add(&directory, "bob", 2);
    let (carol, _) = add(&directory, "carol", 3);
    let (dave, _) = add(&directory, "dave", 4);
    // The file comes later: one has bob's name, another carol's secret.
    directory.set_given([
        (CallerSpec::new("bob"), &b"bob's new one"[..]),
        (CallerSpec::new("somebody"), carol.as_bytes()),
    ]);
    assert_eq!(who(&directory, &bob, at(0)), None);
    assert_eq!(who(&directory, "bob's new one", at(0)).unwrap().0, "bob");
    assert_eq!(who(&directory, &carol, at(0)).unwrap().0, "somebody");
    assert_eq!(who(&directory, &dave, at(0)).unwrap().0, "dave");
    assert_eq!(who(&directory, "from a file", at(0)), None);
    let listed = directory.list(at(0));
    let stand: Vec<_> = listed.iter().map(|it| (&*it.spec.name, it.provenance, it.state)).collect();
    assert_eq!(
        stand,
        [
            ("bob", Provenance::Given, TokenState::Active),
            ("somebody", Provenance::Given, TokenState::Active),
            ("bob", Provenance::Made, TokenState::Shadowed),
            ("carol", Provenance::Made, TokenState::Shadowed),
            ("dave", Provenance::Made, TokenState::Active),
        ]
    );
    assert!(listed[2].reading.is_none());
    // A shadowed one can be removed, and is let in again when the file lets go of it.
    directory.remove("bob").unwrap();
    directory.set_given([]);
    assert_eq!(who(&directory, &bob, at(0)), None);
    assert_eq!(who(&directory, &carol, at(0)).unwrap().0, "carol");
}

#[test]
fn a_replaced_secret_that_the_configuration_gives_shadows_too() {
    let directory = directory();
    let (old, _) = add(&directory, "alice", 1);
    let new = directory.rotate("alice", &random(2), Duration::from_secs(100), at(0)).unwrap().0;
    directory.set_given([(CallerSpec::new("somebody"), old.as_bytes())]);
    assert_eq!(who(&directory, &old, at(0)).unwrap().0, "somebody");
    assert_eq!(who(&directory, new.expose(), at(0)), None);
    assert_eq!(directory.list(at(0))[1].state, TokenState::Shadowed);
}

#[test]
fn keys_of_the_pool_open_nothing_once_a_token_was_made() {
    let key = |id: &str| PoolKey { id: id.into(), project: None };
    let keys = || [(key("pool-1"), &b"AIza-1"[..]), (key("pool-2"), b"AIza-2")];
    let open = directory();
    open.set_pool_keys(keys());
    assert!(open.opens_to_pool_keys());
    let identity = open.identify(b"AIza-2", start()).unwrap();
    assert_eq!(&*identity.caller.spec().name, "pool-2");
    assert_eq!(identity.caller.spec().resources, Visibility::All);
    assert_eq!(identity.caller.provenance(), Provenance::PoolKey);
    assert!(open.list(at(0)).is_empty() && open.callers().is_empty());
    // A token of the configuration closes it while it is there.
    open.set_given([(CallerSpec::new("alice"), &b"secret"[..])]);
    assert!(open.identify(b"AIza-2", start()).is_none());
    open.set_given([]);
    assert!(open.identify(b"AIza-2", start()).is_some());
    // One that was made closes it for good, here and in the next process.
    let (_, made) = add(&open, "bob", 1);
    let removed = open.remove("bob").unwrap();
    assert!(open.identify(b"AIza-2", start()).is_none() && !open.opens_to_pool_keys());
    let next = directory();
    next.set_pool_keys(keys());
    next.restore(made.into_iter().chain(removed));
    assert!(next.identify(b"AIza-2", start()).is_none() && !next.opens_to_pool_keys());
}

#[test]
fn what_is_kept_is_enough_for_the_next_process_and_not_for_a_thief() {
    let first = directory();
    let mut spec = CallerSpec::new("alice");
    spec.models = Globs::of_models(["gemini-2.5-*"]);
    spec.limits.rpm = Some(5);
    let (token, mut kept) = first.add(spec, &random(1), at(0)).unwrap();
    let (new, changes) = first.rotate("alice", &random(2), Duration::from_secs(60), at(0)).unwrap();
    kept.extend(changes);
    let text = kept.iter().map(|change| match change {
        TokenChange::Put(kept) => serde_json::to_string(kept).unwrap(),
        other => format!("{other:?}"),
    });
    let text: String = text.collect();
    for secret in [token.expose(), new.expose()] {
        let fragments = secret.as_bytes().windows(8).map(|part| std::str::from_utf8(part).unwrap());
        fragments.for_each(|part| assert!(!text.contains(part), "{part}"));
    }
    let read = kept.into_iter().map(|change| match change {
        TokenChange::Put(kept) => {
            let text = serde_json::to_string(&kept).unwrap();
            let read: KeptToken = serde_json::from_str(&text).unwrap();
            assert_eq!(read, *kept);
            TokenChange::Put(Box::new(read))
        }
        other => other,
    });
    let read: Vec<_> = read.collect();
    let next = directory();
    assert!(next.restore(read.clone()));
    assert_eq!(who(&next, token.expose(), at(59)), Some(alice(Ok(()))));
    assert_eq!(who(&next, new.expose(), at(59)), Some(alice(Ok(()))));
    assert_eq!(next.list(at(0))[0].spec, first.list(at(0))[0].spec);
    let thief = Directory::new(InstanceKey::new(&[1; 32]), Tz::UTC);
    assert!(!thief.restore(read), "another instance key is noticed");
    assert_eq!(who(&thief, new.expose(), at(59)), None);
    // And a token can be given a new secret under it.
    let renewed = thief.rotate("alice", &random(3), Duration::ZERO, at(60)).unwrap().0;
    assert_eq!(who(&thief, renewed.expose(), at(60)), Some(alice(Ok(()))));
}

#[test]
fn a_change_of_limits_keeps_what_is_counted() {
    let directory = directory();
    let (token, _) = add(&directory, "alice", 1);
    let door = Door { surface: Surface::Native, model: ModelShown::None, spends: false };
    let caller = || directory.identify(token.as_bytes(), start()).unwrap().caller;
    let passes: Vec<_> = (0..3).map(|_| caller().admit(door, at(1)).unwrap()).collect();
    let limited = |concurrent, rpd| {
        let limits = CallerLimits { concurrent: Some(concurrent), rpd: Some(rpd), ..CallerLimits::default() };
        directory.revise(CallerSpec { limits, ..CallerSpec::new("alice") }).unwrap();
    };
    limited(3, 10);
    assert!(caller().admit(door, at(1)).is_err());
    limited(4, 10);
    drop(caller().admit(door, at(1)).unwrap());
    limited(4, 4);
    assert!(caller().admit(door, at(1)).is_err());
    drop(passes);
    assert_eq!(caller().read(at(1)).in_flight, 0);
    assert_eq!(caller().read(at(1)).day.0.requests, 4);
}

#[test]
fn the_door_asks_for_the_surface_and_the_model() {
    let directory = directory();
    let mut spec = CallerSpec::new("alice");
    spec.surfaces = [SurfaceName::Native, SurfaceName::Upload].into_iter().collect();
    spec.models = Globs::of_models(["gemini-2.5-*", "tunedModels/mine-*"]);
    directory.set_given([(spec, &b"secret"[..])]);
    let caller = directory.identify(b"secret", start()).unwrap().caller;
    let asked = |surface, model| {
        let door = Door { surface, model, spends: true };
        caller.admit(door, at(0)).map(|pass| pass.settle(Ending::GivenBack, at(0)))
    };
    let flash = ModelShown::Named("gemini-2.5-flash");
    for (surface, model, verdict) in [
        (Surface::Native, flash, Ok(())),
        (Surface::Native, ModelShown::Named("tunedModels/mine-1"), Ok(())),
        (Surface::Native, ModelShown::Named("gemini-2.0-flash"), Err(Denial::Model)),
        (Surface::Native, ModelShown::None, Ok(())),
        (Surface::Native, ModelShown::Hidden, Err(Denial::HiddenModel)),
        (Surface::Upload, ModelShown::None, Ok(())),
        (Surface::Download, ModelShown::None, Ok(())),
        (Surface::OpenAi, flash, Err(Denial::Surface(SurfaceName::OpenAi))),
        (Surface::Live, flash, Err(Denial::Surface(SurfaceName::Live))),
    ] {
        assert_eq!(asked(surface, model), verdict, "{surface:?} {model:?}");
    }
    assert_eq!(caller.read(at(0)).day.0.requests, 0, "who is refused at the door uses nothing");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let directory = directory();
    add(&directory, "alice", 1);
    let add = |spec: CallerSpec| directory.add(spec, &random(2), at(0)).unwrap_err();
    assert_eq!(add(CallerSpec::new("alice")), DirectoryError::NameTaken);
    assert_eq!(add(CallerSpec::new("pool")), DirectoryError::Spec(SpecError::ReservedName));
    let mut bad = CallerSpec::new("bob");
    bad.limits.rpm = Some(0);
    assert!(matches!(add(bad.clone()), DirectoryError::Spec(SpecError::ZeroLimit(_))));
    bad.name = Arc::from("alice");
    assert!(directory.revise(bad).is_err());
    assert_eq!(directory.list(at(0)).len(), 1);
    assert_eq!(directory.list(at(0))[0].spec, CallerSpec::new("alice"));
    let far = Duration::from_secs(u64::MAX);
    assert!(directory.rotate("alice", &random(3), far, at(0)).is_ok(), "a grace beyond all calendars");
    let until = directory.list(at(0))[0].former_until.unwrap();
    assert!(until > start() + TimeDelta::days(10_000));
}

#[test]
fn a_caller_of_whose_projects_no_key_is_may_not_call() {
    let directory = directory();
    directory.set_pool_keys([(PoolKey { id: "a".into(), project: Some("team-red".into()) }, &b"1"[..])]);
    let spec = |projects: &[&str]| CallerSpec {
        projects: projects.iter().copied().collect::<Globs>(),
        ..CallerSpec::new("alice")
    };
    directory.add(spec(&["nosuch"]), &random(1), at(0)).unwrap();
    let door = Door { surface: Surface::Native, model: ModelShown::None, spends: false };
    let admit = || directory.named("alice", at(0).wall).unwrap().caller.admit(door, at(0));
    assert_eq!(admit().err(), Some(Denial::Projects));
    directory.revise(spec(&["nosuch", "team-*"])).unwrap();
    assert!(admit().is_ok());
    for (projects, without) in
        [(&["*"][..], &[][..]), (&["nosuch", "team-*", "a"], &["nosuch", "a"]), (&[], &[])]
    {
        assert_eq!(directory.projects_without_keys(&spec(projects)), without, "{projects:?}");
    }
}

#[test]
fn a_caller_is_served_by_the_keys_of_its_projects() {
    let directory = directory();
    let key = |id: &str, project: Option<&str>| PoolKey { id: id.into(), project: project.map(Into::into) };
    let keys = [
        (key("a", Some("team-red")), &b"1"[..]),
        (key("b", Some("team-blue")), b"2"),
        (key("c", Some("other")), b"3"),
        (key("d", None), b"4"),
    ];
    for (projects, served) in [
        (&["*"][..], None),
        (&["team-*"], Some(vec!["a", "b"])),
        (&["other", "d"], Some(vec!["c", "d"])),
        (&["nobody"], Some(vec![])),
    ] {
        directory.set_pool_keys(keys.clone());
        let spec = CallerSpec { projects: projects.iter().collect(), ..CallerSpec::new("alice") };
        directory.set_given([(spec, &b"secret"[..])]);
        let served_by = || directory.identify(b"secret", start()).unwrap().caller.served_by();
        let mut ids = served_by().map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>());
        if let Some(ids) = &mut ids {
            ids.sort();
        }
        assert_eq!(ids, served.map(|ids| ids.into_iter().map(str::to_owned).collect()), "{projects:?}");
        // Other keys, and what was found of the former ones is forgotten.
        directory.set_pool_keys([]);
        assert_eq!(served_by().map(|ids| ids.len()), (projects != ["*"]).then_some(0));
    }
}

#[test]
fn what_is_done_with_a_token_on_one_gateway_is_done_on_another_that_hears_of_it() {
    let [here, there] = [7, 7].map(|key| Directory::new(InstanceKey::new(&[key; 32]), Tz::UTC));
    let strange = Directory::new(InstanceKey::new(&[8; 32]), Tz::UTC);
    assert!(here.instance().is_none(), "no token was hashed under it");
    let wall: DateTime<Utc> = "2026-07-15T12:00:00Z".parse().unwrap();
    let now = Now { mono: Duration::ZERO, wall };
    let hear = |changes: Vec<TokenChange>| {
        for directory in [&there, &strange] {
            for change in changes.clone() {
                if !matches!(change, TokenChange::EverMade(_)) {
                    directory.hear(change);
                }
            }
        }
    };
    let (token, made) = here.add(CallerSpec::new("alice"), &[1; 32], now).unwrap();
    hear(made.clone());
    let standing = |directory: &Directory| {
        directory.identify(token.expose().as_bytes(), wall).map(|identity| identity.standing.is_ok())
    };
    assert_eq!((standing(&there), standing(&strange)), (Some(true), None));
    assert!(here.instance() == there.instance() && there.instance().is_some());
    assert_ne!(strange.instance(), there.instance());
    assert!(made.iter().all(|change| there.hear(change.clone()).is_empty()), "it is no news");
    hear(here.enable("alice", false).unwrap());
    assert_eq!(standing(&there), Some(false));
    hear(here.remove("alice").unwrap());
    assert_eq!(standing(&there), None);
    assert!(!there.opens_to_pool_keys());
    // What could not have been made here is not taken over.
    let odd =
        KeptToken { spec: CallerSpec::new(""), made: wall, secret: made_hash(&made), former: Vec::new() };
    assert!(there.hear(TokenChange::Put(Box::new(odd))).is_empty() && there.list(now).is_empty());
}

fn made_hash(changes: &[TokenChange]) -> callers::TokenHash {
    let hash = changes.iter().find_map(|change| match change {
        TokenChange::Put(token) => Some(token.secret),
        _ => None,
    });
    hash.unwrap()
}
