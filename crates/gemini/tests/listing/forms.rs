//! Queries that go upstream, answers that go back, and which requests are lists at all.

use gemini::listing::{BadPage, Candidate, Form, Listing, Malformed, ProjectTag, Step, merges};
use gemini::path::{self, CredentialForm};

fn tags(projects: usize) -> Vec<ProjectTag> {
    (0..projects).map(|at| ProjectTag::new(&at.to_string())).collect()
}

fn begin(collection: &str, form: Form, query: &str, projects: usize) -> Listing {
    let query = (!query.is_empty()).then_some(query);
    Listing::begin(collection, form, query, &tags(projects)).unwrap()
}

/// The query by which the first project is asked.
fn upstream(collection: &str, form: Form, query: &str, projects: usize) -> String {
    match begin(collection, form, query, projects).step() {
        Step::Ask(asks) => {
            assert_eq!(asks.len(), projects);
            asks[0].query.clone()
        }
        step => panic!("{step:?}"),
    }
}

/// The answer made of one page of each project, all visible.
fn merged(collection: &str, form: Form, query: &str, pages: &[&str]) -> String {
    let mut listing = begin(collection, form, query, pages.len());
    loop {
        match listing.step() {
            Step::Ask(asks) => {
                for ask in asks {
                    listing.feed(ask.project, pages[ask.project].as_bytes()).unwrap();
                }
            }
            Step::Judge(_) => listing.judge(|_, _| true),
            Step::Done(body) => return String::from_utf8(body).unwrap(),
            Step::Refuse(bad) => panic!("{bad}"),
        }
    }
}

#[test]
fn a_collections_own_list_is_merged_and_nothing_else() {
    use CredentialForm::{Bearer, GoogHeader};
    let native = Some(Form::Native);
    let openai = Some(Form::OpenAi);
    for (method, path, credential, expected) in [
        ("GET", "/v1beta/files", GoogHeader, native),
        ("GET", "/v1/files/", GoogHeader, native),
        ("GET", "/v1beta/cachedContents", GoogHeader, native),
        ("GET", "/v1beta/batches", GoogHeader, native),
        ("GET", "/v1beta/fileSearchStores", GoogHeader, native),
        ("GET", "/v1beta/tunedModels", GoogHeader, native),
        ("GET", "/v1beta/corpora", GoogHeader, native),
        ("GET", "/v1beta/interactions", GoogHeader, native),
        ("GET", "/v1beta/agents", GoogHeader, native),
        ("GET", "/v1beta/generatedFiles", GoogHeader, native),
        ("GET", "/v1beta/environments", GoogHeader, native),
        ("GET", "/v1beta/environments:list", GoogHeader, native),
        ("GET", "/v2/files", GoogHeader, native),
        ("GET", "/v1beta/models/m/operations", GoogHeader, native),
        ("GET", "/v1beta/openai/batches", Bearer, openai),
        ("GET", "/v1/batches", Bearer, openai),
        ("GET", "/v1/batches", GoogHeader, native),
        ("GET", "/openai/v1/files", Bearer, openai),
        ("GET", "/v1beta/openai/videos", Bearer, openai),
        ("POST", "/v1beta/files", GoogHeader, None),
        ("HEAD", "/v1beta/files", GoogHeader, None),
        ("POST", "/v1beta/environments:create", GoogHeader, None),
        ("GET", "/v1beta/files:register", GoogHeader, None),
        ("GET", "/v1beta/files/abc", GoogHeader, None),
        ("GET", "/v1beta/files/abc:download", GoogHeader, None),
        ("GET", "/v2/things", GoogHeader, None),
        ("GET", "/v1beta/fils", GoogHeader, None),
        ("GET", "/v1beta/models", GoogHeader, None),
        ("GET", "/v1beta/models/m", GoogHeader, None),
        ("GET", "/v1beta/models/m/operations/o", GoogHeader, None),
        ("GET", "/v1beta/fileSearchStores/s/documents", GoogHeader, None),
        ("GET", "/v1beta/triggers/t/executions", GoogHeader, None),
        ("GET", "/upload/v1beta/files", GoogHeader, None),
        ("GET", "/download/v1beta/files", GoogHeader, None),
        ("GET", "/$discovery/rest", GoogHeader, None),
        ("GET", "/v1beta/openai/models", Bearer, None),
        ("GET", "/v1beta/openai/batches/b", Bearer, None),
        ("GET", "/v1beta/openai/chat/completions", Bearer, None),
        ("POST", "/v1beta/openai/batches", Bearer, None),
    ] {
        let target = path::parse(method, path, None, credential).unwrap();
        assert_eq!(merges(method, &target), expected, "{method} {path}");
    }
}

#[test]
fn a_project_is_asked_with_the_clients_query_and_a_page_of_its_own() {
    use Form::{Native, OpenAi};
    for (collection, form, query, projects, expected) in [
        ("files", Native, "", 2, "pageSize=20"),
        ("files", Native, "pageSize=100", 2, "pageSize=100"),
        ("files", Native, "pageSize=5000", 2, "pageSize=100"),
        ("files", Native, "pageSize=100", 10, "pageSize=40"),
        ("files", Native, "pageSize=100", 50, "pageSize=8"),
        ("files", Native, "a=%2f+1&page_size=30&&key=k&b", 2, "a=%2f+1&b&page_size=30"),
        ("files", Native, "$pageSize=30&access_token=x", 2, "pageSize=30"),
        ("files", Native, "page%53ize=30", 2, "pageSize=30"),
        ("files", Native, "pageSize=30&pageSize=40&pageToken=", 2, "pageSize=40"),
        ("fileSearchStores", Native, "pageSize=100", 2, "pageSize=20"),
        ("cachedContents", Native, "", 2, "pageSize=50"),
        ("agents", Native, "", 2, "page_size=50"),
        ("agents", Native, "pageSize=60", 2, "pageSize=60"),
        ("batches", OpenAi, "", 2, "limit=20"),
        ("batches", OpenAi, "limit=60&pageSize=7", 2, "pageSize=7&limit=60"),
        ("batches", OpenAi, "limit=2&after=batches%2Fx", 2, "limit=100"),
    ] {
        assert_eq!(upstream(collection, form, query, projects), expected, "{collection} {query}");
    }
}

#[test]
fn a_page_size_that_is_none_is_refused() {
    for query in ["pageSize=-1", "pageSize=x", "pageSize=1.5", "pageSize=99999999999"] {
        let listing = Listing::begin("files", Form::Native, Some(query), &tags(1));
        assert_eq!(listing.err(), Some(BadPage::Size), "{query}");
    }
}

#[test]
fn an_answer_is_made_of_the_projects_own_bytes() {
    use Form::{Native, OpenAi};
    for (collection, form, query, pages, expected) in [
        ("files", Native, "", &["{}", " { } "][..], "{}"),
        ("files", Native, "", &[][..], "{}"),
        (
            "files",
            Native,
            "",
            &[
                r#"{"files": [ {"name":"files/a", "createTime":"2026-01-01T00:00:00.1Z","x":1.0} ]}"#,
                r#"{"files":[{"createTime":"2026-01-01T01:00:00.2+01:00","name":"files\/b"}],"new":{"a": 1}}"#,
                r#"{"new":2,"also":[]}"#,
            ],
            r#"{"files":[{"createTime":"2026-01-01T01:00:00.2+01:00","name":"files\/b"},{"name":"files/a", "createTime":"2026-01-01T00:00:00.1Z","x":1.0}],"new":{"a": 1},"also":[]}"#,
        ),
        // Oldest first, as documented.
        (
            "fileSearchStores",
            Native,
            "",
            &[
                r#"{"fileSearchStores":[{"name":"s/b","createTime":"2026-01-02T00:00:00Z"}]}"#,
                r#"{"fileSearchStores":[{"name":"s/a","createTime":"2026-01-01T00:00:00Z"}]}"#,
            ],
            r#"{"fileSearchStores":[{"name":"s/a","createTime":"2026-01-01T00:00:00Z"},{"name":"s/b","createTime":"2026-01-02T00:00:00Z"}]}"#,
        ),
        // Batches are operations, with their time inside.
        (
            "batches",
            Native,
            "",
            &[
                r#"{"operations":[{"name":"batches/a","metadata":{"@type":"x","createTime":"2026-01-01T00:00:00Z"}}]}"#,
                r#"{"operations":[{"name":"batches/b","metadata":{"createTime":"2026-01-03T00:00:00Z"}}]}"#,
            ],
            r#"{"operations":[{"name":"batches/b","metadata":{"createTime":"2026-01-03T00:00:00Z"}},{"name":"batches/a","metadata":{"@type":"x","createTime":"2026-01-01T00:00:00Z"}}]}"#,
        ),
        // Whatever a list yet to come is called.
        (
            "things",
            Native,
            "",
            &[r#"{"a":1,"stuff":[ {"a":1}]}"#, r#"{"stuff":[],"unreachable":["x"]}"#],
            r#"{"stuff":[{"a":1}],"a":1,"unreachable":["x"]}"#,
        ),
        ("things", Native, "", &[r#"{"stuff":[]}"#, r#"{"stuff":[{}]}"#], r#"{"stuff":[{}]}"#),
        ("things", Native, "", &[r#"{"stuff":[]}"#, "{}"], r#"{"stuff":[]}"#),
        (
            "files",
            Native,
            "",
            &[r#"{"unreachable":["x"]}"#, r#"{"files":[{}]}"#],
            r#"{"files":[{}],"unreachable":["x"]}"#,
        ),
        ("voices", Native, "", &[r#"{"voices":[]}"#, "{}"], r#"{"voices":[]}"#),
        ("files", Native, "", &[r#"{"files":null,"nextPageToken":""}"#], r#"{"files":null}"#),
        // Without names each is itself.
        (
            "files",
            Native,
            "fields=files(mimeType)",
            &[r#"{"files":[{"mimeType":"x"},{"mimeType":"x"}]}"#, r#"{"files":[{"mimeType":"x"}]}"#],
            r#"{"files":[{"mimeType":"x"},{"mimeType":"x"},{"mimeType":"x"}]}"#,
        ),
        (
            "batches",
            OpenAi,
            "",
            &[r#"{"object":"list","data":[],"has_more":false}"#, "{}"],
            r#"{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}"#,
        ),
        (
            "batches",
            OpenAi,
            "limit=1",
            &[
                r#"{"object":"list","data":[{"id":"batches/a","created_at":5}],"has_more":false}"#,
                r#"{"object":"list","data":[{"id":"batches/b","created_at":6}],"has_more":false}"#,
            ],
            r#"{"object":"list","data":[{"id":"batches/b","created_at":6}],"first_id":"batches/b","last_id":"batches/b","has_more":true}"#,
        ),
        (
            "batches",
            OpenAi,
            "limit=1&after=batches%2Fb",
            &[
                r#"{"object":"list","data":[{"id":"batches/a","created_at":5}],"has_more":false}"#,
                r#"{"object":"list","data":[{"id":"batches/b","created_at":6}],"has_more":false}"#,
            ],
            r#"{"object":"list","data":[{"id":"batches/a","created_at":5}],"first_id":"batches/a","last_id":"batches/a","has_more":false}"#,
        ),
    ] {
        assert_eq!(merged(collection, form, query, pages), expected, "{collection} {pages:?}");
    }
}

#[test]
fn a_continuation_is_named_as_the_projects_name_it() {
    let next = |collection: &str, page: &str| merged(collection, Form::Native, "pageSize=1", &[page]);
    let camel = next("files", r#"{"files":[{"name":"files/a"},{"name":"files/b"}]}"#);
    assert!(camel.starts_with(r#"{"files":[{"name":"files/a"}],"nextPageToken":"A"#), "{camel}");
    let snake = next("agents", r#"{"agents":[{"id":"a"},{"id":"b"}]}"#);
    assert!(snake.starts_with(r#"{"agents":[{"id":"a"}],"next_page_token":"A"#), "{snake}");
    let shown = next("agents", r#"{"agents":[{"id":"a"},{"id":"b"}],"nextPageToken":"x"}"#);
    assert!(shown.contains(r#","nextPageToken":"A"#), "{shown}");
}

#[test]
fn candidates_are_named_as_other_requests_name_them() {
    for (collection, form, item, name) in [
        ("files", Form::Native, r#"{"name":"files/a"}"#, Some("files/a")),
        ("interactions", Form::Native, r#"{"id":"v1_a","created":"x"}"#, Some("interactions/v1_a")),
        ("agents", Form::Native, r#"{"name":"My agent","id":"a"}"#, Some("agents/a")),
        ("things", Form::Native, r#"{"name":"a"}"#, Some("things/a")),
        ("batches", Form::OpenAi, r#"{"id":"batches/a","name":"x/y"}"#, Some("batches/a")),
        ("files", Form::Native, r#"{"name":7}"#, None),
        ("files", Form::Native, r#"{"name":""}"#, None),
        ("files", Form::Native, "7", None),
    ] {
        let mut listing = begin(collection, form, "", 2);
        assert!(matches!(listing.step(), Step::Ask(_)));
        listing.feed(0, b"{}").unwrap();
        listing.feed(1, format!(r#"{{"data":[{item}]}}"#).as_bytes()).unwrap();
        let candidate = Candidate { project: 1, name: name.map(str::to_owned) };
        assert_eq!(listing.step(), Step::Judge(vec![candidate]), "{item}");
        assert_eq!(listing.step(), listing.step(), "the same again");
        // Whoever is not judged is not shown.
        listing.judge(|_, _| false);
        assert!(matches!(listing.step(), Step::Done(_)));
    }
}

#[test]
fn what_is_no_page_is_told_and_may_be_fed_again() {
    for body in
        ["", "[]", "null", "{", r#"{"files":{}}"#, r#"{"a":[{}],"b":[ {}]}"#, "{}x", "\u{feff}{}", "<html>"]
    {
        let mut listing = begin("files", Form::Native, "", 2);
        assert!(matches!(listing.step(), Step::Ask(_)));
        assert_eq!(listing.feed(1, body.as_bytes()), Err(Malformed), "{body}");
        assert!(matches!(listing.step(), Step::Ask(asks) if asks.len() == 2));
        listing.feed(0, b"{}").unwrap();
        assert!(matches!(listing.step(), Step::Ask(asks) if asks.len() == 1 && asks[0].project == 1));
        listing.feed(1, b"{}").unwrap();
        // What nobody asked for changes nothing.
        listing.feed(1, br#"{"files":[{"name":"files/a"}]}"#).unwrap();
        listing.feed(7, b"").unwrap();
        assert_eq!(listing.step(), Step::Done(b"{}".to_vec()));
    }
}

#[test]
fn a_project_that_does_not_go_on_is_not_asked_for_ever() {
    let page = r#"{"files":[{"name":"files/a"}],"nextPageToken":"same"}"#;
    assert_eq!(merged("files", Form::Native, "", &[page]), r#"{"files":[{"name":"files/a"}]}"#);
    let page = r#"{"data":[{"id":"a"}],"has_more":true}"#;
    assert!(merged("batches", Form::OpenAi, "", &[page]).ends_with(r#""has_more":false}"#));
}
