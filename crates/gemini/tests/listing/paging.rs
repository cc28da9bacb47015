//! Paging through lists that change: nothing twice, nothing missing of what stayed, pages full, an end.

use std::collections::HashSet;

use gemini::listing::{BadPage, Form};
use proptest::prelude::*;

use crate::model::{Item, Page, Project, Tokens, page};

/// How a project orders its list, and what times its items have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NewestFirst,
    OldestFirst,
    /// By a key that has nothing to do with time.
    Unordered,
    Timeless,
}

/// A change of one project's list between two pages.
#[derive(Clone, Debug)]
enum Change {
    Create {
        project: usize,
        key: i64,
        visible: bool,
    },
    /// Of the item at this place, counted around.
    Delete {
        project: usize,
        at: usize,
    },
    /// Of all that the client was given so far.
    DeleteGiven,
}

struct World {
    kinds: Vec<Kind>,
    projects: Vec<Project>,
    made: i64,
}

impl World {
    fn new(kinds: &[(Kind, Tokens, usize, bool)], items: &[Vec<(i64, bool)>]) -> Self {
        let mut world = Self { kinds: Vec::new(), projects: Vec::new(), made: 0 };
        for (at, &(kind, tokens, most, eager)) in kinds.iter().enumerate() {
            world.kinds.push(kind);
            world.projects.push(Project { tag: format!("p{at}"), items: Vec::new(), tokens, most, eager });
        }
        // In turns, so that the lists interleave.
        let longest = items.iter().map(Vec::len).max().unwrap_or(0);
        for turn in 0..longest {
            for project in 0..kinds.len() {
                if let Some(&(key, visible)) = items.get(project).and_then(|items| items.get(turn)) {
                    world.create(project, key, visible);
                }
            }
        }
        world
    }

    fn create(&mut self, project: usize, key: i64, visible: bool) {
        self.made += 1;
        let seq = self.made;
        // Some of one time.
        let now = seq * 2 / 3;
        let (key, time) = match self.kinds[project] {
            Kind::NewestFirst => (-seq, Some(now)),
            Kind::OldestFirst => (seq, Some(now)),
            Kind::Unordered => (key * 100_000 + seq, Some(now)),
            Kind::Timeless => (-seq, None),
        };
        self.projects[project].insert(Item { key, name: format!("files/{project}-{seq}"), time, visible });
    }
}

/// What a client sees of a list, page by page, and what it must see.
struct Walk {
    given: Vec<String>,
    pages: usize,
}

fn walk(
    form: Form,
    world: &mut World,
    sizes: &[usize],
    mut between: impl FnMut(&mut World, &[String], &Page),
) -> Result<Walk, TestCaseError> {
    let owed: Vec<_> = world.projects.iter().flat_map(|project| project.items.clone()).collect();
    let mut walk = Walk { given: Vec::new(), pages: 0 };
    let mut token: Option<String> = None;
    let mut keys = vec![i64::MIN; world.projects.len()];
    loop {
        let size = sizes[walk.pages % sizes.len()];
        let page = page(form, &world.projects, size, token.as_deref()).unwrap();
        prop_assert!(page.names.len() <= size);
        // Many small pages of hidden items are not waited for without end.
        let least = if page.rounds < 16 { size } else { usize::from(page.rounds < 64) };
        prop_assert!(page.token.is_none() || page.names.len() >= least, "a short page that is not the last");
        for name in &page.names {
            let (project, item) = world
                .projects
                .iter()
                .enumerate()
                .find_map(|(at, project)| Some((at, project.items.iter().find(|it| it.name == *name)?)))
                .unwrap();
            prop_assert!(item.visible, "{name} is hidden");
            // What is made meanwhile may come wherever there is room.
            if owed.iter().any(|it| it.name == *name) {
                prop_assert!(item.key > keys[project], "{name} is out of its project's order");
                keys[project] = item.key;
            }
        }
        walk.given.extend(page.names.iter().cloned());
        walk.pages += 1;
        prop_assert!(walk.pages < 2_000, "no end");
        token = page.token.as_ref().map(|token| token.replace('/', "%2F"));
        if token.is_none() {
            break;
        }
        between(world, &walk.given, &page);
    }
    let once: HashSet<_> = walk.given.iter().collect();
    prop_assert_eq!(once.len(), walk.given.len(), "something came twice: {:?}", walk.given);
    for item in owed.iter().filter(|item| item.visible) {
        let stayed = world.projects.iter().any(|project| project.items.iter().any(|it| it.name == item.name));
        prop_assert!(!stayed || once.contains(&item.name), "{} is missing of {:?}", item.name, walk.given);
    }
    Ok(walk)
}

fn tokens() -> impl Strategy<Value = Tokens> {
    prop_oneof![Just(Tokens::Key), Just(Tokens::Offset)]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::NewestFirst),
        1 => Just(Kind::OldestFirst),
        1 => Just(Kind::Unordered),
        1 => Just(Kind::Timeless),
    ]
}

fn most() -> impl Strategy<Value = usize> {
    prop_oneof![1..8_usize, 5..50_usize]
}

/// Of each project at most so many items, hidden ones in stretches.
fn items(most: usize) -> impl Strategy<Value = Vec<Vec<(i64, bool)>>> {
    let project = prop_oneof![
        proptest::collection::vec((0..100_i64, Just(true)), 0..most),
        proptest::collection::vec((0..100_i64, any::<bool>()), 0..most),
        proptest::collection::vec((0..100_i64, prop::bool::weighted(0.05)), 0..most),
    ];
    proptest::collection::vec(project, 6)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![1..6_usize, 1..40_usize], 1..5)
}

fn change(projects: usize) -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..projects, 0..100_i64, any::<bool>())
            .prop_map(|(project, key, visible)| Change::Create { project, key, visible }),
        6 => (0..projects, any::<usize>()).prop_map(|(project, at)| Change::Delete { project, at }),
        1 => Just(Change::DeleteGiven),
    ]
}

/// For each gap between two pages, counted around.
fn changes(projects: usize, most: usize) -> impl Strategy<Value = Vec<Vec<Change>>> {
    proptest::collection::vec(proptest::collection::vec(change(projects), 0..most), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn lists_whose_tokens_are_keys_may_change_in_any_way(
        kinds in proptest::collection::vec((kind(), Just(Tokens::Key), 3..50_usize, any::<bool>()), 1..6),
        items in items(60),
        sizes in sizes(),
        changes in changes(5, 7),
    ) {
        let mut world = World::new(&kinds, &items);
        let mut gap = 0;
        walk(Form::Native, &mut world, &sizes, |world, given, _| {
            for change in &changes[gap % changes.len()] {
                match *change {
                    Change::Create { project, key, visible } if gap < 100 => {
                        world.create(project % world.projects.len(), key, visible);
                    }
                    Change::Create { .. } => {}
                    Change::Delete { project, at } => {
                        let project = project % world.projects.len();
                        let items = &mut world.projects[project].items;
                        if !items.is_empty() {
                            items.remove(at % items.len());
                        }
                    }
                    Change::DeleteGiven => {
                        for project in &mut world.projects {
                            project.items.retain(|it| !given.contains(&it.name));
                        }
                    }
                }
                // What the client was promised more of may all be gone.
                for project in &mut world.projects {
                    if project.items.iter().all(|it| !it.visible) {
                        project.eager = false;
                    }
                }
            }
            gap += 1;
        })?;
    }

    #[test]
    fn lists_whose_tokens_are_offsets_may_grow_and_lose_what_is_to_come(
        kinds in proptest::collection::vec((kind(), tokens(), 3..50_usize, any::<bool>()), 1..6),
        items in items(60),
        sizes in sizes(),
        changes in changes(5, 7),
    ) {
        let mut world = World::new(&kinds, &items);
        let mut gap = 0;
        walk(Form::Native, &mut world, &sizes, |world, given, _| {
            for change in &changes[gap % changes.len()] {
                match *change {
                    Change::Create { project, key, visible } if gap < 100 => {
                        let project = project % world.projects.len();
                        // Where an offset's list takes something in amidst what was given, nobody can tell.
                        if world.kinds[project] != Kind::Unordered {
                            world.create(project, key, visible);
                        }
                    }
                    Change::Delete { project, at } => {
                        let project = project % world.projects.len();
                        let items = &mut world.projects[project].items;
                        let to_come: Vec<_> = (0..items.len())
                            .filter(|&at| items[at].visible && !given.contains(&items[at].name))
                            .filter(|&at| items[..at].iter().any(|it| given.contains(&it.name)))
                            .collect();
                        if !to_come.is_empty() {
                            items.remove(to_come[at % to_come.len()]);
                        }
                    }
                    Change::Create { .. } | Change::DeleteGiven => {}
                }
            }
            gap += 1;
        })?;
    }

    #[test]
    fn whoever_deletes_all_it_is_given_is_given_all(
        kinds in proptest::collection::vec((kind(), tokens(), Just(100_usize), any::<bool>()), 1..5),
        items in items(60),
        size in 1..=20_usize,
    ) {
        let mut world = World::new(&kinds, &items);
        // An offset moves by what was deleted, which is as much as was passed over only if nothing is hidden.
        for project in world.projects.iter_mut().filter(|project| project.tokens == Tokens::Offset) {
            project.items.iter_mut().for_each(|it| it.visible = true);
        }
        let owed = world.projects.iter().flat_map(|project| &project.items).filter(|it| it.visible).count();
        let mut token: Option<String> = None;
        let mut given = HashSet::new();
        for _ in 0..1_000 {
            let page = page(Form::Native, &world.projects, size, token.as_deref()).unwrap();
            for name in &page.names {
                prop_assert!(given.insert(name.clone()), "{name} came twice");
            }
            for project in &mut world.projects {
                project.items.retain(|it| !page.names.contains(&it.name));
            }
            token = page.token;
            if token.is_none() {
                break;
            }
        }
        prop_assert!(token.is_none(), "no end");
        prop_assert_eq!(given.len(), owed);
    }

    #[test]
    fn lists_newest_first_that_do_not_change_are_one_list_newest_first(
        kinds in proptest::collection::vec((Just(Kind::NewestFirst), tokens(), most(), any::<bool>()), 1..6),
        items in items(60),
        sizes in sizes(),
        form in prop_oneof![Just(Form::Native), Just(Form::OpenAi)],
    ) {
        let mut world = World::new(&kinds, &items);
        let walk = walk(form, &mut world, &sizes, |_, _, _| {})?;
        let time = |name: &String| {
            world.projects.iter().flat_map(|project| &project.items).find(|it| it.name == *name).unwrap().time
        };
        prop_assert!(walk.given.is_sorted_by_key(|name| std::cmp::Reverse(time(name))), "{:?}", walk.given);
    }

    #[test]
    fn the_openai_layers_lists_may_change_around_the_item_to_continue_after(
        kinds in proptest::collection::vec((Just(Kind::NewestFirst), tokens(), 3..50_usize, any::<bool>()), 1..6),
        items in items(40),
        sizes in sizes(),
        changes in changes(5, 5),
    ) {
        let mut world = World::new(&kinds, &items);
        let mut gap = 0;
        walk(Form::OpenAi, &mut world, &sizes, |world, given, _| {
            for change in &changes[gap % changes.len()] {
                match *change {
                    Change::Create { project, key, visible } if gap < 50 => {
                        world.create(project % world.projects.len(), key, visible);
                    }
                    Change::Delete { project, at } => {
                        let project = project % world.projects.len();
                        let items = &mut world.projects[project].items;
                        if !items.is_empty() && given.last() != Some(&items[at % items.len()].name) {
                            items.remove(at % items.len());
                        }
                    }
                    Change::Create { .. } | Change::DeleteGiven => {}
                }
            }
            gap += 1;
        })?;
    }
}

/// Whoever takes one item at a time while all others are deleted and made anew stays on one page for long.
#[test]
fn what_stays_of_a_page_that_is_made_anew_again_and_again_comes_once() {
    let kinds = [(Kind::NewestFirst, Tokens::Key, 3, false), (Kind::OldestFirst, Tokens::Key, 5, false)];
    for stays in 0..4 {
        let mut world = World::new(&kinds, &[vec![], vec![(0, true); 6]]);
        let mut gaps = 0;
        let walk = walk(Form::Native, &mut world, &[1], |world, given, _| {
            gaps += 1;
            if gaps < 100 {
                let staying = world.projects[1].items[..=stays].to_vec();
                world.projects[1].items.retain(|item| {
                    staying.iter().any(|it| it.name == item.name) || !given.contains(&item.name)
                });
                world.create(1, 0, true);
            }
        })
        .unwrap();
        assert_eq!(walk.given.len(), 6 + 99);
    }
}

fn many(projects: usize, each: usize) -> World {
    let kinds = vec![(Kind::NewestFirst, Tokens::Key, 100, true); projects];
    World::new(&kinds, &vec![vec![(0, true); each]; projects])
}

#[test]
fn the_token_of_fifty_projects_fits_into_a_url() {
    let mut world = many(50, 40);
    let mut longest = 0;
    let walk = walk(Form::Native, &mut world, &[30], |_, _, page| {
        longest = longest.max(page.token.as_ref().unwrap().len());
    })
    .unwrap();
    assert_eq!(walk.given.len(), 2_000);
    assert!((1_000..6_200).contains(&longest), "{longest}");
}

#[test]
fn a_page_of_many_projects_takes_one_round_and_its_continuation_hardly_more() {
    let world = many(10, 30);
    let first = page(Form::Native, &world.projects, 20, None).unwrap();
    assert_eq!((first.names.len(), first.rounds), (20, 1));
    let second = page(Form::Native, &world.projects, 20, first.token.as_deref()).unwrap();
    assert_eq!((second.names.len(), second.rounds), (20, 1));
}

#[test]
fn a_project_that_came_later_is_listed_from_its_start_and_one_that_went_is_left_out() {
    let mut world = many(3, 10);
    let late = world.projects.remove(2);
    let first = page(Form::Native, &world.projects, 6, None).unwrap();
    let gone = world.projects.remove(0);
    // The place of a project among the others may change.
    world.projects.insert(0, late);
    let rest = page(Form::Native, &world.projects, 100, first.token.as_deref()).unwrap();
    assert_eq!(rest.token, None);
    let of = |names: &[String], project: usize| {
        names.iter().filter(|name| name.starts_with(&format!("files/{project}-"))).count()
    };
    assert_eq!((of(&first.names, 0), of(&first.names, 1), of(&first.names, 2)), (3, 3, 0));
    assert_eq!((of(&rest.names, 0), of(&rest.names, 1), of(&rest.names, 2)), (0, 7, 10));
    assert_eq!(gone.items.len(), 10);
}

#[test]
fn a_project_under_two_names_is_listed_once() {
    for kind in [Kind::NewestFirst, Kind::OldestFirst, Kind::Timeless, Kind::Unordered] {
        let mut world = World::new(&[(kind, Tokens::Key, 100, true)], &[vec![(0, true); 50]]);
        let mut twin = world.projects[0].clone();
        twin.tag = "twin".to_owned();
        world.projects.push(twin);
        let mut token = None;
        let mut given = Vec::new();
        loop {
            let page = page(Form::Native, &world.projects, 7, token.as_deref()).unwrap();
            given.extend(page.names);
            token = page.token;
            if token.is_none() {
                break;
            }
        }
        let names: Vec<_> = world.projects[0].items.iter().map(|it| it.name.clone()).collect();
        assert_eq!(given, names, "{kind:?}");
    }
}

#[test]
fn a_caller_that_sees_nothing_of_a_thousand_is_given_one_empty_page() {
    let kinds = [(Kind::NewestFirst, Tokens::Key, 100, false); 2];
    let world = World::new(&kinds, &[vec![(0, false); 1_200], vec![(0, false); 1_000]]);
    let page = page(Form::Native, &world.projects, 10, None).unwrap();
    assert_eq!(page.names, [""; 0]);
    assert_eq!(page.body, "{}");
}

#[test]
fn a_caller_that_sees_one_of_very_many_is_given_it_within_a_few_pages() {
    let kinds = [(Kind::NewestFirst, Tokens::Key, 3, false)];
    let mut items = vec![(0, false); 500];
    items[0].1 = true;
    let world = World::new(&kinds, &[items]);
    let mut token = None;
    for pages in 0.. {
        let page = page(Form::Native, &world.projects, 10, token.as_deref()).unwrap();
        assert!(page.rounds <= 64);
        if let [name] = &page.names[..] {
            assert_eq!(name, "files/0-1");
            assert_eq!(pages, 2);
            break;
        }
        token = Some(page.token.unwrap());
    }
}

#[test]
fn an_item_to_continue_after_that_is_not_there_is_refused() {
    let mut world = many(3, 5);
    assert_eq!(page(Form::OpenAi, &world.projects, 5, Some("files%2Fno")).unwrap_err(), BadPage::After);
    let hidden = &mut world.projects[0].items[1];
    hidden.visible = false;
    let name = hidden.name.replace('/', "%2F");
    assert_eq!(page(Form::OpenAi, &world.projects, 5, Some(&name)).unwrap_err(), BadPage::After);
}

#[test]
fn a_list_of_offsets_may_grow_by_two_pages_between_two_of_the_clients() {
    let mut world = World::new(&[(Kind::NewestFirst, Tokens::Offset, 100, false)], &[vec![(0, true); 200]]);
    let mut grown = 0;
    walk(Form::Native, &mut world, &[20], |world, given, _| {
        if given.len() == 60 {
            (0..39).for_each(|_| world.create(0, 0, true));
            grown += 39;
        }
    })
    .unwrap();
    assert_eq!(grown, 39);
}
