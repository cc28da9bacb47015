//! What opening makes, accepts, refuses and sets aside.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use gemini_balance_store::{
    Change, Condition, Holding, Ledger, LedgerChange, Opened, RecordId, Records, Sqlite, StoreError, Stored,
    Upkeep, open,
};
use rusqlite::Connection;

fn stored(key: &str, body: &str) -> Stored {
    let updated: DateTime<Utc> = DateTime::from_timestamp_micros(1_767_225_600_000_000).unwrap();
    Stored { id: RecordId::new("key", key), body: body.to_owned(), updated }
}

fn put(key: &str, body: &str) -> Change {
    Change::Put(stored(key, body))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A holding with every field.
fn holding() -> Holding {
    let made = DateTime::from_timestamp_micros(1_767_225_600_123_456).unwrap();
    Holding {
        name: "uploads/0a1b".to_owned(),
        key: "k-1f2e3d".to_owned(),
        project: Some("research".to_owned()),
        caller: Some("c-77".to_owned()),
        expires: Some(made + TimeDelta::days(2)),
        address: Some("/upload/v1beta/files?upload_id=x".to_owned()),
        made,
    }
}

/// A closed store with two records.
fn two_records(path: &Path) {
    Sqlite::open(path).unwrap().store.save(&[put("one", "{\"n\":1}"), put("two", "{\"n\":2}")]).unwrap();
}

fn quarantined(opened: &Opened<Sqlite>) -> &Path {
    match &opened.condition {
        Condition::Quarantined { to, .. } => to,
        other => panic!("not quarantined but {other}"),
    }
}

#[test]
fn a_new_store_and_all_that_belongs_to_it_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/store.db");
    let mut opened = Sqlite::open(&path).unwrap();
    opened.store.save(&[put("one", "{}")]).unwrap();
    assert_eq!(
        (&opened.condition, opened.exposed_mode, opened.cut_off_bytes),
        (&Condition::Fresh, None, None)
    );
    assert_eq!(names(path.parent().unwrap()), ["store.db", "store.db-shm", "store.db-wal"]);
    for name in ["store.db", "store.db-shm", "store.db-wal"] {
        assert_eq!(mode(&path.with_file_name(name)), 0o600, "{name}");
    }
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    drop(opened);
    let opened = Sqlite::open(&path).unwrap();
    assert_eq!((&opened.condition, opened.cut_off_bytes), (&Condition::Intact, None));
}

#[test]
fn a_file_that_others_may_read_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    two_records(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let mut opened = Sqlite::open(&path).unwrap();
    assert_eq!((opened.exposed_mode, opened.store.load().unwrap().len()), (Some(0o640), 2));
}

#[test]
fn an_empty_path_is_a_store_in_memory() {
    let mut opened = open(Path::new("")).unwrap();
    opened.store.save(&[put("one", "{}")]).unwrap();
    assert_eq!(opened.store.load().unwrap(), [stored("one", "{}")]);
    opened.store.record(&[LedgerChange::Put(holding())]).unwrap();
    assert!(opened.store.find(&["uploads/0a1b"], holding().made).unwrap() == [Some(holding())]);
}

#[test]
fn a_name_that_sqlite_would_take_for_more_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:store.db?mode=memory", "100%25 #1.db"] {
        let path = folder.path().join(name);
        two_records(&path);
        assert_eq!(open(&path).unwrap().store.load().unwrap().len(), 2, "{name}");
    }
    assert_eq!(names(folder.path()).len(), 3);
}

#[test]
fn a_symbolic_link_leads_to_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("store.db"), folder.path().join("link.db"));
    two_records(&path);
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let (mut one, mut other) = (Sqlite::open(&path).unwrap().store, Sqlite::open(&link).unwrap().store);
    other.save(&[put("three", "{}")]).unwrap();
    assert_eq!(one.load().unwrap().len(), 3);
}

/// What version 1 wrote, kept here so that every later version still reads it. The checksums are CRC-32 of the
/// lengths of kind, key and body (u64), the time (i64), all little-endian, and then the three texts.
#[test]
fn a_file_of_version_1_opens_with_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let file = Connection::open(&path).unwrap();
    file.execute_batch(
        "CREATE TABLE records (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        updated_us INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tally (
        row_count INTEGER NOT NULL,
        checksum_sum INTEGER NOT NULL
    ) STRICT;
    INSERT INTO records VALUES
        ('key', 'one', 86993051, 1767225600000000, '{\"n\":1}'),
        ('key', 'two', 1626319269, 1767225600000000, '{\"n\":2}');
    INSERT INTO tally VALUES (2, 86993051 + 1626319269);
    PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(file);
    let mut opened = Sqlite::open(&path).unwrap();
    assert_eq!(opened.condition, Condition::Intact);
    assert_eq!(opened.store.load().unwrap(), [stored("one", "{\"n\":1}"), stored("two", "{\"n\":2}")]);
    opened.store.save(&[put("one", "{}"), Change::Forget(RecordId::new("key", "two"))]).unwrap();
    assert_eq!(opened.store.load().unwrap(), [stored("one", "{}")]);
    // It has a ledger now.
    opened.store.record(&[LedgerChange::Put(holding())]).unwrap();
    drop(opened);
    let mut opened = Sqlite::open(&path).unwrap();
    assert_eq!(opened.condition, Condition::Intact);
    assert!(opened.store.find(&["uploads/0a1b"], holding().made).unwrap() == [Some(holding())]);
    assert_eq!(opened.store.load().unwrap(), [stored("one", "{}")]);
}

/// What version 2 wrote beside that. A holding's checksum is CRC-32 of name, key, project, caller and address, of each
/// whether it is there (u8) and its length (u64), then the time made (i64), whether there is an expiry (u8) and which (i64),
/// all little-endian, and then the texts.
#[test]
fn a_file_of_version_2_opens_with_its_holdings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let file = Connection::open(&path).unwrap();
    file.execute_batch(
        "CREATE TABLE records (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        updated_us INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tally (
        row_count INTEGER NOT NULL,
        checksum_sum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE holdings (
        name TEXT NOT NULL PRIMARY KEY,
        checksum INTEGER NOT NULL,
        made_us INTEGER NOT NULL,
        expires_us INTEGER,
        key TEXT NOT NULL,
        project TEXT,
        caller TEXT,
        address TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE holdings_by_expiry (
        expires_us INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (expires_us, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE holdings_by_making (
        made_us INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (made_us DESC, name)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO tally VALUES (0, 0);
    INSERT INTO holdings VALUES
        ('uploads/0a1b', 2287099584, 1767225600123456, 1767398400123456, 'k-1f2e3d', 'research', 'c-77',
         '/upload/v1beta/files?upload_id=x'),
        ('files/a', 3376317812, 1767225600123456, NULL, 'k-1f2e3d', NULL, NULL, NULL);
    INSERT INTO holdings_by_expiry VALUES (1767398400123456, 'uploads/0a1b');
    INSERT INTO holdings_by_making VALUES (1767225600123456, 'uploads/0a1b'), (1767225600123456, 'files/a');
    PRAGMA user_version = 2;",
    )
    .unwrap();
    drop(file);
    let mut opened = Sqlite::open(&path).unwrap();
    assert_eq!(opened.condition, Condition::Intact);
    let now = holding().made;
    let bare = Holding {
        name: "files/a".to_owned(),
        project: None,
        caller: None,
        expires: None,
        address: None,
        ..holding()
    };
    let found = opened.store.find(&["uploads/0a1b", "files/a"], now).unwrap();
    assert!(found == [Some(holding()), Some(bare.clone())]);
    assert!(opened.store.newest(9, now).unwrap() == [bare, holding()]);
    assert_eq!(opened.store.expire(now + TimeDelta::days(2), 9).unwrap(), 1);
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let file = Connection::open(&path).unwrap();
    file.execute_batch("CREATE TABLE things_to_come (x); PRAGMA user_version = 7;").unwrap();
    drop(file);
    let before = fs::read(&path).unwrap();
    let error = Sqlite::open(&path).unwrap_err();
    assert_eq!(error, StoreError::Newer { path: path.clone(), found: 7, known: 2 });
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(folder.path()), ["store.db"]);
}

#[test]
fn what_is_no_store_is_moved_aside_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut other = Vec::new();
    {
        let sample = folder.path().join("other.db");
        let file = Connection::open(&sample).unwrap();
        file.execute_batch("CREATE TABLE records (kind TEXT); PRAGMA user_version = 1;").unwrap();
        drop(file);
        other.extend(fs::read(&sample).unwrap());
        fs::remove_file(sample).unwrap();
    }
    let real = {
        two_records(&path);
        fs::read(&path).unwrap()
    };
    let half = &real[..real.len() / 2];
    for content in [b"".as_slice(), b"no database", &[0; 4096], &other, half] {
        fs::write(&path, content).unwrap();
        let mut opened = Sqlite::open(&path).unwrap();
        let to = quarantined(&opened);
        assert!(
            to.file_name().unwrap().to_str().unwrap().starts_with("store.db.damaged-"),
            "{}",
            to.display()
        );
        assert_eq!(fs::read(to).unwrap(), content);
        assert_eq!(opened.store.load().unwrap(), []);
        opened.store.save(&[put("one", "{}")]).unwrap();
        drop(opened);
        assert_eq!(Sqlite::open(&path).unwrap().condition, Condition::Intact);
    }
}

#[test]
fn a_log_goes_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let wal = folder.path().join("store.db-wal");
    let mut live = Sqlite::open(&path).unwrap().store;
    live.save(&[put("one", "{}")]).unwrap();
    let log = fs::read(&wal).unwrap();
    drop(live);
    // The file is gone, or it is damaged; either way its log must not be read into the new one.
    for damaged in [None, Some(vec![7; 9_000])] {
        fs::remove_file(&path).unwrap();
        if let Some(content) = damaged {
            fs::write(&path, content).unwrap();
        }
        fs::write(&wal, &log).unwrap();
        let mut opened = Sqlite::open(&path).unwrap();
        let to = quarantined(&opened).to_str().unwrap().to_owned() + "-wal";
        assert!(fs::read(to).unwrap() == log);
        assert_eq!(opened.store.load().unwrap(), []);
    }
}

#[test]
fn a_row_with_a_wrong_checksum_is_dropped_and_named_and_the_others_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    two_records(&path);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|window| window == b"{\"n\":2}").unwrap();
    bytes[at + 5] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut opened = Sqlite::open(&path).unwrap();
    let Condition::Repaired { dropped, rows_expected, rows_kept, copy } = &opened.condition else {
        panic!("{}", opened.condition)
    };
    assert_eq!(
        (dropped.as_slice(), *rows_expected, *rows_kept),
        ([RecordId::new("key", "two")].as_slice(), 2, 1)
    );
    let kept: String = Connection::open(copy)
        .unwrap()
        .query_row("SELECT body FROM records WHERE key = 'two'", [], |row| row.get(0))
        .unwrap();
    assert_eq!((kept.as_str(), mode(copy)), ("{\"n\":3}", 0o600));
    assert_eq!(opened.store.load().unwrap(), [stored("one", "{\"n\":1}")]);
    drop(opened);
    assert_eq!(Sqlite::open(&path).unwrap().condition, Condition::Intact);
}

#[test]
fn a_row_that_went_missing_or_came_back_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    for (n, tampering) in
        ["DELETE FROM records WHERE key = 'two'", "UPDATE tally SET checksum_sum = checksum_sum - 1"]
            .iter()
            .enumerate()
    {
        let path = folder.path().join(format!("{n}.db"));
        two_records(&path);
        let mut live = Sqlite::open(&path).unwrap().store;
        Connection::open(&path).unwrap().execute_batch(tampering).unwrap();
        assert!(matches!(live.load(), Err(StoreError::Damaged { .. })), "{tampering}");
        drop(live);
        let opened = Sqlite::open(&path).unwrap();
        assert!(
            matches!(&opened.condition, Condition::Repaired { dropped, .. } if dropped.is_empty()),
            "{tampering}"
        );
        drop(opened);
        assert_eq!(Sqlite::open(&path).unwrap().condition, Condition::Intact);
    }
}

#[test]
fn a_place_that_cannot_be_used_is_one_line_with_path_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "a file, not a folder").unwrap();
    for (path, reason) in
        [(file.join("store.db"), "Not a directory"), (folder.path().to_owned(), "it is not a file")]
    {
        let error = Sqlite::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
        let line = error.to_string();
        assert!(
            line.contains(path.to_str().unwrap()) && line.contains(reason) && !line.contains('\n'),
            "{line}"
        );
    }
}

#[test]
fn a_read_only_file_or_folder_is_refused_and_not_moved() {
    if rustix::process::geteuid().is_root() {
        return; // permissions do not bind root
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    two_records(&path);
    for (place, bits) in [(path.as_path(), 0o400), (folder.path(), 0o500)] {
        let before = mode(place);
        fs::set_permissions(place, fs::Permissions::from_mode(bits)).unwrap();
        let error = Sqlite::open(&path).unwrap_err();
        fs::set_permissions(place, fs::Permissions::from_mode(before)).unwrap();
        assert!(error.to_string().contains("Permission denied"), "{error}");
        assert_eq!(names(folder.path()), ["store.db"]);
    }
}

#[test]
fn a_locked_file_is_busy_after_the_wait_and_free_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    two_records(&path);
    let mut store = Sqlite::open(&path).unwrap().store;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; UPDATE records SET body = body;").unwrap();
    let begin = Instant::now();
    assert!(matches!(store.save(&[put("one", "{}")]), Err(StoreError::Busy { .. })));
    let waited = begin.elapsed();
    assert!(waited > Duration::from_millis(800) && waited < Duration::from_secs(5), "{waited:?}");
    assert_eq!(store.load().unwrap().len(), 2, "reading does not wait for a writer");
    other.execute_batch("ROLLBACK").unwrap();
    store.save(&[put("one", "{}")]).unwrap();

    // A file held whole cannot even be examined; that is no damage.
    drop((store, other));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;").unwrap();
    assert!(matches!(Sqlite::open(&path), Err(StoreError::Busy { .. })));
    drop(other);
    assert_eq!(Sqlite::open(&path).unwrap().condition, Condition::Intact);
}

#[test]
fn handles_that_open_a_new_path_at_once_share_one_file() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::thread::scope(|scope| {
            for n in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    Sqlite::open(path).unwrap().store.save(&[put(&n.to_string(), "{}")]).unwrap();
                });
            }
        });
        assert_eq!(Sqlite::open(&path).unwrap().store.load().unwrap().len(), 4);
        assert_eq!(names(folder.path()), ["store.db"]);
    }
}

#[test]
fn the_files_hold_what_was_saved_and_nothing_of_a_secret_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut store = Sqlite::open(&path).unwrap().store;
    // As the pool does it: the record names a key by its id; the secret behind the id stays with the caller.
    let secret = "AIzaCanary0123456789canary0123456789abc";
    store.save(&[put("k-1f2e3d", "{\"subject\":\"key\",\"key\":\"k-1f2e3d\"}")]).unwrap();
    let mut all = Vec::new();
    for name in names(folder.path()) {
        all.extend(fs::read(folder.path().join(name)).unwrap());
    }
    let holds = |text: &[u8]| all.windows(text.len()).any(|window| window == text);
    assert!(holds(b"k-1f2e3d"), "the search finds what is there");
    for fragment in secret.as_bytes().windows(8) {
        assert!(!holds(fragment));
    }
}

#[test]
fn what_is_said_about_a_store_shows_no_body() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut store = Sqlite::open(&path).unwrap().store;
    store.save(&[put("one", "canary"), put("two", "canary")]).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("UPDATE records SET body = 'canary canary' WHERE key = 'one'").unwrap();
    let error = store.load().unwrap_err();
    other.execute_batch("DROP TABLE tally").unwrap();
    let failed = store.save(&[put("three", "canary")]).unwrap_err();
    let said = format!("{error} {error:?} {failed} {failed:?} {store:?}");
    other
        .execute_batch(
            "CREATE TABLE tally (row_count INTEGER NOT NULL, checksum_sum INTEGER NOT NULL) STRICT",
        )
        .unwrap();
    drop((store, other));
    let opened = Sqlite::open(&path).unwrap();
    let said = format!("{said} {opened:?} {}", opened.condition);
    assert!(said.contains("store.db") && !said.contains("canary"), "{said}");
}

#[test]
fn a_log_that_started_over_has_nothing_after_its_last_batch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut store = Sqlite::open(&path).unwrap().store;
    let log = || fs::read(folder.path().join("store.db-wal")).unwrap();
    // Long enough that SQLite copies it into the file; the next batch begins it anew.
    store.save(&[put("large", &"x".repeat(5_000_000))]).unwrap();
    let long = log().len();
    store.save(&[put("one", "{}")]).unwrap();
    // What a kill would leave.
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::write(folder.path().join("copy.db-wal"), log()).unwrap();
    assert!(!log().is_empty() && log().len() < long);
    let mut opened = Sqlite::open(&copy).unwrap();
    assert_eq!((&opened.condition, opened.cut_off_bytes), (&Condition::Intact, None));
    assert_eq!(opened.store.load().unwrap().len(), 2);
}
