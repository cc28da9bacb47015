//! Another process writes, and meets a sudden end or a full disk. The other process is this test program again, asked for
//! one of its ignored tests; what it acknowledges goes to its standard error, a line a batch.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write, stderr},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use chrono::Utc;
use gemini_balance_store::{
    Change, Condition, Holding, Ledger, LedgerChange, RecordId, Records, Sqlite, StoreError, Stored,
};

const FILE: &str = "STORE_TEST_FILE";
const SLOTS: u32 = 7;

fn put(key: &str, body: String) -> Change {
    Change::Put(Stored { id: RecordId::new("test", key), body, updated: Utc::now() })
}

/// Batch `n` sets the counter and one of the slots to `n`. The batches vary in length.
fn batch(n: u32) -> Vec<Change> {
    let filling = "x".repeat(usize::try_from(n % 11).unwrap() * 1_000);
    vec![
        put("counter", n.to_string()),
        put(&format!("slot {}", n % SLOTS), format!("{n} {filling}")),
        Change::Forget(RecordId::new("test", "nothing")),
    ]
}

fn held(name: String, n: u32) -> LedgerChange {
    let key = n.to_string();
    LedgerChange::Put(Holding {
        name,
        key,
        project: None,
        caller: None,
        expires: None,
        address: None,
        made: Utc::now(),
    })
}

/// The same for the ledger.
fn ledger_batch(n: u32) -> [LedgerChange; 3] {
    [
        held("counter".to_owned(), n),
        held(format!("slot {}", n % SLOTS), n),
        LedgerChange::Forget("nothing".to_owned()),
    ]
}

/// The number of the last batch in the ledger. Panics if that batch or one before it is there in part.
fn last_whole_ledger_batch(store: &mut Sqlite) -> u32 {
    let slots: Vec<_> = (0..SLOTS).map(|n| format!("slot {n}")).collect();
    let names: Vec<_> = ["counter"].into_iter().chain(slots.iter().map(String::as_str)).collect();
    let found = store.find(&names, Utc::now()).unwrap();
    let number = |held: &Holding| held.key.parse::<u32>().unwrap();
    let counter = found[0].as_ref().map_or(0, number);
    for slot in 0..SLOTS {
        let newest = (1..=counter).rev().find(|n| n % SLOTS == slot);
        let found = found[usize::try_from(slot).unwrap() + 1].as_ref().map(number);
        assert_eq!(found, newest, "each slot has the newest batch that was its");
    }
    counter
}

/// The number of the last batch in the store. Panics if that batch or one before it is there in part.
fn last_whole_batch(store: &mut Sqlite) -> u32 {
    let records = store.load().unwrap();
    let number = |stored: &Stored| stored.body.split(' ').next().unwrap().parse::<u32>().unwrap();
    let Some(counter) = records.iter().find(|stored| stored.id.key() == "counter").map(number) else {
        assert!(records.is_empty());
        return 0;
    };
    let mut slots: Vec<_> =
        records.iter().filter(|stored| stored.id.key() != "counter").map(number).collect();
    slots.sort_unstable();
    let first = counter.saturating_sub(SLOTS - 1).max(1);
    assert_eq!(slots, (first..=counter).collect::<Vec<_>>(), "each slot has the newest batch that was its");
    counter
}

fn this_program(test: &str, file: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(FILE, file);
    command
}

#[test]
#[ignore = "the process that another test starts and kills"]
fn writes_until_it_is_killed() {
    let Some(path) = env::var_os(FILE) else { return };
    let mut store = Sqlite::open(&PathBuf::from(path)).unwrap().store;
    let last = last_whole_batch(&mut store);
    // Records and holdings are two batches: the former writer may have ended between them.
    if last > 0 {
        store.record(&ledger_batch(last)).unwrap();
    }
    // Bounded, should nobody kill it.
    for n in last + 1..last + 100_000 {
        store.save(&batch(n)).unwrap();
        store.record(&ledger_batch(n)).unwrap();
        stderr().write_all(format!("saved {n}\n").as_bytes()).unwrap();
    }
}

#[test]
fn everything_acknowledged_is_there_after_each_of_50_kills() {
    const LIVES_A_FILE: u32 = 10;
    let folder = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(20_260_720);
    let mut written = 0;
    for life in 0..50_u32 {
        let path = folder.path().join(format!("{}.db", life / LIVES_A_FILE));
        let mut writer = this_program("writes_until_it_is_killed", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stderr.take().unwrap());
        // Read all along, or a full pipe would hold the writer up.
        let reading = thread::spawn(move || {
            let saved = |line: String| line.strip_prefix("saved ").and_then(|n| n.parse::<u32>().ok());
            lines.lines().map_while(Result::ok).filter_map(saved).last()
        });
        // From before its first write to some thousand batches on, with the short lives more often.
        thread::sleep(Duration::from_micros(rng.u64(..200_000) * rng.u64(..=100) / 100));
        writer.kill().unwrap();
        let status = writer.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the writer was still writing");
        let acknowledged = reading.join().unwrap().unwrap_or(0);

        let mut opened = Sqlite::open(&path).unwrap();
        let found = last_whole_batch(&mut opened.store);
        let condition = &opened.condition;
        assert!(matches!(condition, Condition::Intact | Condition::Fresh), "life {life}: {condition}");
        let held = last_whole_ledger_batch(&mut opened.store);
        assert!(found >= acknowledged, "life {life}: {acknowledged} acknowledged, {found} found");
        assert!(held >= acknowledged, "life {life}: {acknowledged} acknowledged, {held} held");
        assert!(found == held || found == held + 1, "life {life}: {found} found, {held} held");
        written += u32::from(acknowledged > 0);
    }
    assert!(written >= 20, "only {written} writers lived long enough to write");
}

#[test]
#[ignore = "the process that other tests start where there is little room"]
fn fills_the_disk_and_goes_on_when_there_is_room() {
    let Some(path) = env::var_os(FILE).map(PathBuf::from) else { return };
    let ballast = path.with_file_name("ballast");
    let mut store = Sqlite::open(&path).unwrap().store;
    // Batches of 64 KiB fill any of the places in use within this bound.
    let large = |n: u32| [put("counter", n.to_string()), put(&n.to_string(), "y".repeat(1 << 16))];
    let (full, error) =
        (1..1_000).find_map(|n| Some((n, store.save(&large(n)).err()?))).expect("it never filled");
    assert!(full > 1, "no batch fitted");
    if ballast.exists() {
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
    } else {
        assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
    }
    let before = store.load().unwrap();
    let count = |records: &[Stored]| {
        records.iter().find(|r| r.id.key() == "counter").unwrap().body.parse::<u32>().unwrap()
    };
    assert_eq!((count(&before), before.len()), (full - 1, usize::try_from(full).unwrap()));
    store.save(&large(full)).unwrap_err();

    if ballast.exists() {
        fs::remove_file(&ballast).unwrap();
    } else {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let hard = getrlimit(Resource::Fsize).maximum;
        setrlimit(Resource::Fsize, Rlimit { current: hard, maximum: hard }).unwrap();
    }
    for n in full..full + 10 {
        store.save(&large(n)).unwrap();
    }
    store.sync().unwrap();
    let after = store.load().unwrap();
    drop(store);
    let mut opened = Sqlite::open(&path).unwrap();
    assert_eq!((&opened.condition, opened.cut_off_bytes), (&Condition::Intact, None));
    assert!(opened.store.load().unwrap() == after && count(&after) == full + 9);
    stderr().write_all(b"\ndone\n").unwrap();
}

fn runs_to_its_end(mut command: Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("\ndone\n"), "{said}");
}

#[test]
fn writes_that_fail_are_errors_and_succeed_once_the_file_may_grow() {
    let folder = tempfile::tempdir().unwrap();
    let program =
        this_program("fills_the_disk_and_goes_on_when_there_is_room", &folder.path().join("store.db"));
    let mut shell = Command::new("sh");
    // The limit's signal is ignored, so that the write fails instead, as it does on a disk.
    shell.args(["-c", "trap '' XFSZ; ulimit -S -f 1000; exec \"$@\"", "sh"]).arg(program.get_program());
    shell.args(program.get_args()).env(FILE, folder.path().join("store.db"));
    runs_to_its_end(shell);
}

/// A real full disk, in a mount of the child's own; where mounting is not allowed the tests of a limited file and of a
/// limited database stand for it.
#[test]
fn a_full_disk_is_an_error_and_passes_once_there_is_room() {
    let may_mount =
        Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|output| output.status.success());
    if !may_mount {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program =
        this_program("fills_the_disk_and_goes_on_when_there_is_room", &folder.path().join("store.db"));
    let mut shell = Command::new("unshare");
    let script =
        "mount -t tmpfs -o size=8m none \"$0\" && head -c 6000000 /dev/zero > \"$0/ballast\" && exec \"$@\"";
    shell.args(["-rm", "sh", "-c", script]).arg(folder.path()).arg(program.get_program());
    shell.args(program.get_args()).env(FILE, folder.path().join("store.db"));
    runs_to_its_end(shell);
}
