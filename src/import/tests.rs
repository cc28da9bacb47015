//! Documents of every kind, well made and not: what is taken, that nothing panics, and that no note shows a secret.

use super::{Document, Import, ImportError, Vendor, mysql_dump, read, snailyp, source::Source};
use proptest::{collection::vec, prelude::*, sample::select};

fn document(name: &str, text: &str) -> Document {
    Document::of_bytes(name.to_owned(), text.as_bytes().to_vec()).unwrap()
}

fn nothing(_: &str) -> Option<String> {
    None
}

fn import(documents: &[(&str, &str)]) -> Result<Import, ImportError> {
    let documents: Vec<Document> = documents.iter().map(|(name, text)| document(name, text)).collect();
    read(&documents, None, &nothing)
}

fn keys(import: &Import) -> Vec<&str> {
    import.keys.iter().map(|key| key.secret.expose()).collect()
}

fn tokens(import: &Import) -> Vec<&str> {
    import.tokens.iter().map(|token| token.secret.expose()).collect()
}

/// All that may be shown of an import.
fn told(import: &Import) -> String {
    let places = import.keys.iter().map(|key| format!("{} {:?}", key.place, key.label));
    let tokens = import.tokens.iter().map(|token| format!("{} {}", token.name, token.place));
    let settings = import.settings.iter().map(|one| format!("{} {} {}", one.setting, one.shown, one.origin));
    let notes = import.sources.iter().chain(&import.left).chain(&import.warnings).cloned();
    let limits = import.limits.iter().map(|limit| format!("{limit:?}"));
    let all: Vec<String> = limits.chain(places).chain(tokens).chain(settings).chain(notes).collect();
    format!("{}\n{:?} {:?}", all.join("\n"), import.keys, import.tokens)
}

const A: &str = "AIzaSyImportCanary0123456789-abcdefghij";
const B: &str = "AIzaSyImportCanary9876543210_abcdefghij";

#[test]
fn a_document_is_known_by_what_is_in_it() {
    for (name, text, source) in [
        (".env", "API_KEYS=[]", Source::SnailypVariables),
        ("x", "# a\n export ALLOWED_TOKENS = a", Source::SnailypVariables),
        (".env", "GOOGLE_API_KEYS=a", Source::Keys),
        ("x", "INSERT INTO `t_settings` VALUES (1);", Source::SnailypDump),
        ("x", "a: b\nmodel_list:\n", Source::LiteLlm),
        ("x", "  model_list: in a text", Source::Keys),
        ("keys-a-b-all.txt", "", Source::GptLoadKeys),
        ("keys-a-invalid.txt", "", Source::GptLoadKeys),
        ("keys-all.txt", "", Source::Keys),
        ("keys--all.txt", "", Source::Keys),
        ("keys-a-some.txt", "", Source::Keys),
        ("x", "", Source::Keys),
    ] {
        assert_eq!(document(name, text).source(None), Ok(source), "{name}: {text}");
    }
    let said = |vendor| document("x", "").source(Some(vendor)).unwrap();
    assert_eq!(said(Vendor::Snailyp), Source::SnailypVariables);
    assert_eq!(said(Vendor::GptLoad), Source::GptLoadKeys);
    assert_eq!(said(Vendor::LiteLlm), Source::LiteLlm);
    assert_eq!(said(Vendor::Keys), Source::Keys);
}

#[test]
fn variables_of_snailyp_are_read_however_they_are_written() {
    for list in [
        format!("[\"{A}\",\"{B}\"]"),
        format!("'[\"{A}\", \"{B}\"]'"),
        format!("{A},{B}"),
        format!("\"{A},{B}\""),
        format!("['{A}','{B}']"),
        format!("[\"{A}\",\"{B}\",\"{A}\",\"\"]"),
    ] {
        let import = import(&[(".env", &format!("API_KEYS={list}\n"))]).unwrap();
        assert_eq!(keys(&import), [A, B], "{list}");
    }
    for (url, set) in [
        ("https://generativelanguage.googleapis.com/v1beta", None),
        ("https://generativelanguage.googleapis.com/", None),
        ("https://relay.example/v1beta/", Some("\"https://relay.example\"")),
        ("[\"https://relay.example/x/v1\"]", Some("\"https://relay.example/x\"")),
        ("https://relay.example", Some("\"https://relay.example\"")),
        ("ftp://relay.example", None),
        ("Canary", None),
    ] {
        let import = import(&[(".env", &format!("API_KEYS=[]\nBASE_URL={url}"))]).unwrap();
        assert_eq!(import.settings.first().map(|one| one.value.as_str()), set, "{url}");
        assert!(!told(&import).contains("Canary"));
    }
    for (name, value, setting) in [
        ("MAX_FAILURES", "3", Some(("pool.failure_threshold", "3"))),
        ("MAX_RETRIES", " 5 ", Some(("retry.max_attempts", "5"))),
        ("TIME_OUT", "60", Some(("upstream.head_timeout_s", "60"))),
        ("TIME_OUT", "0", None),
        ("TIME_OUT", "-1", None),
        ("TIME_OUT", "Canary", None),
        ("LOG_LEVEL", "WARNING", Some(("log.level", "\"warn\""))),
        ("LOG_LEVEL", "info", None),
        ("LOG_LEVEL", "Canary", None),
        ("PROXIES", "[\"http://127.0.0.1:1\"]", Some(("upstream.proxy", "\"http://127.0.0.1:1\""))),
        ("PROXIES", "[\"Canary\"]", None),
        ("PROXIES", "[]", None),
    ] {
        let import = import(&[(".env", &format!("API_KEYS=[]\n{name}={value}"))]).unwrap();
        let found = import.settings.first().map(|one| (one.setting, one.value.as_str()));
        assert_eq!(found, setting, "{name}={value}");
        assert!(!told(&import).contains("Canary"), "{}", told(&import));
    }
}

#[test]
fn a_token_that_opened_everything_is_a_clients_alone_and_a_short_one_is_warned_of() {
    let text = "ALLOWED_TOKENS=[\"sk-long-enough-0001\",\"short\"]\nAUTH_TOKEN=sk-long-enough-0001\n";
    let import = import(&[(".env", text)]).unwrap();
    assert_eq!(tokens(&import), ["sk-long-enough-0001", "short"]);
    assert!(import.has_operator && import.repeated == 1);
    assert_eq!(import.warnings.len(), 1);
    assert!(import.warnings[0].contains("import-2") && import.warnings[0].contains("5 characters"));
}

#[test]
fn a_name_is_shown_only_if_no_secret_looks_so() {
    let text = format!(
        "API_KEYS=[]\nTIMEZONE=a\n{A}=x\n{B}\nsk-Canary=1\nABCDEFGHIJKLMNOPQRSTUVWXYZ012345=1\nlower=1\n"
    );
    let import = import(&[(".env", &text)]).unwrap();
    assert_eq!(import.left, [".env: nothing here corresponds to TIMEZONE, lower and 3 others"]);
}

#[test]
fn litellm_is_read_with_its_aliases_limits_and_variables() {
    let text = format!(
        "model_list:\n- {{model_name: m, litellm_params: {{model: gemini/m, api_key: {A}, rpm: '5', weight: 3}}}}\n\
         - {{model_name: other, litellm_params: {{model: gemini/m, api_key: {A}, tpm: 7}}}}\n\
         - {{litellm_params: {{model: gemini/m, rpm: 5.5, tpm: 0}}}}\n- 5\n- {{litellm_params: {{model: vertex_ai/m, api_key: {B}}}}}\n"
    );
    let import = import(&[("config.yaml", &text)]).unwrap();
    assert_eq!((keys(&import), import.keys[0].weight), (vec![A], 3));
    let limit = &import.limits[0];
    assert_eq!((limit.model.as_deref(), limit.rpm, limit.tpm), (Some("m"), Some(5), Some(7)));
    let left = import.left.join("\n");
    for words in [
        "alias other; ask for m",
        "has no api_key",
        "rpm of m: only a whole number",
        "tpm of m: only a whole number",
        "1 entries of model_list that are vertex_ai",
        "of no named vendor",
    ] {
        assert!(left.contains(words), "{words}: {left}");
    }
    // A bomb of references to references is not unfolded.
    let bomb = (1..30).fold("model_list: [&a0 [x, x, x, x, x, x, x, x]]\n".to_owned(), |text, n| {
        let list = vec![format!("*a{}", n - 1); 8].join(", ");
        format!("{text}a{n}: &a{n} [{list}]\n")
    });
    assert!(import_error(&bomb).contains("cannot be read as YAML"));
    let deep = format!("model_list: {}", "[".repeat(100_000));
    assert!(import_error(&deep).contains("cannot be read as YAML"));
}

fn import_error(text: &str) -> String {
    import(&[("config.yaml", text)]).unwrap_err().to_string()
}

#[test]
fn only_statements_of_a_dump_are_statements() {
    let rows = |text: &str| mysql_dump::rows(text, "t", ["key", "value"], &["id", "key", "value"], 10);
    let text = |text: &str| Some(text.to_owned());
    for (dump, found) in [
        ("INSERT INTO `t` VALUES (1,'a','b');", vec![[text("a"), text("b")]]),
        (
            "insert into t values (1, 'a' , NULL ), (2,'c','d') ;",
            vec![[text("a"), None], [text("c"), text("d")]],
        ),
        ("INSERT IGNORE INTO `db`.`t` (`value`, key) VALUES ('b','a');", vec![[text("a"), text("b")]]),
        ("REPLACE INTO \"t\" VALUES(1,'it''s','a\\nb\\'\\\\\\%');", vec![[text("it's"), text("a\nb'\\\\%")]]),
        ("INSERT INTO `t` VALUES (1,_utf8mb4'a',0x6162,'x',NOW(),(1,2));", vec![[text("a"), text("0x6162")]]),
        (
            "CREATE TABLE IF NOT EXISTS t (value text COMMENT 'a,(b', `key` int(1), PRIMARY KEY (`key`));INSERT INTO t VALUES ('b','a');",
            vec![[text("a"), text("b")]],
        ),
        (
            "-- INSERT INTO t VALUES (1,'a','b');\n# INSERT INTO t VALUES (1,'a','b');\n/* INSERT INTO t VALUES (1,'a','b'); */",
            vec![],
        ),
        ("INSERT INTO u VALUES ('; INSERT INTO t VALUES (1,''a'',''b'');');", vec![]),
        ("INSERT INTO u VALUES ('\\'; INSERT INTO t VALUES (1,2,3);');", vec![]),
        ("INSERT INTO tt VALUES (1,'a','b'); UPDATE t SET a = 'b';", vec![]),
        ("INSERT INTO t VALUES (1,'a','b') ON DUPLICATE KEY UPDATE a = ';';", vec![[text("a"), text("b")]]),
        ("INSERT INTO t VALUES (1);", vec![[None, None]]),
        ("", vec![]),
    ] {
        assert_eq!(rows(dump), Ok(found), "{dump}");
    }
    for (dump, error) in [
        ("INSERT INTO t VALUES (1,'a", mysql_dump::DumpError::CutOff),
        ("INSERT INTO t VALUES (1,'a','b'", mysql_dump::DumpError::CutOff),
        ("INSERT INTO t VALUES ", mysql_dump::DumpError::CutOff),
        ("INSERT INTO t SELECT * FROM u;", mysql_dump::DumpError::NotRows),
    ] {
        assert_eq!(rows(dump), Err(error), "{dump}");
    }
    let many = format!("INSERT INTO t VALUES {};", ["(1,2,3)"; 11].join(","));
    assert_eq!(rows(&many), Err(mysql_dump::DumpError::TooMuch));
}

#[test]
fn keys_and_notes_are_bounded() {
    let list = (0..20_001).map(|n| format!("\"AIzaSyNumber{n:012}\"")).collect::<Vec<_>>().join(",");
    let error = import(&[(".env", &format!("API_KEYS=[{list}]"))]).unwrap_err().to_string();
    assert!(error.contains("more than 20000 keys") && !error.contains("AIza"), "{error}");
    let bad = vec!["\"a b\""; 3_000].join(",");
    let import = import(&[(".env", &format!("API_KEYS=[{bad}]"))]).unwrap();
    assert_eq!((import.left.len(), import.unnamed), (1_000, 2_000));
}

/// A value as mysqldump writes it.
fn dumped(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('"', "\\\"").replace('\n', "\\n");
    format!("'{}'", escaped.replace('\r', "\\r").replace('\u{1a}', "\\Z"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_dumped_comes_back(
        pairs in vec(("[A-Z_]{1,20}", "[^\0]{0,60}"), 0..20),
        noise in "[^\0]{0,60}",
        split in any::<bool>(),
    ) {
        let rows: Vec<String> =
            pairs.iter().map(|(name, value)| format!("(1,{},{},NULL)", dumped(name), dumped(value))).collect();
        let between = if split { ");\nINSERT INTO `t_settings` VALUES (" } else { "),(" };
        let mut text = format!("INSERT INTO `t_error_logs` VALUES (1,{});\n", dumped(&noise));
        if !rows.is_empty() {
            let rows = rows.join(",").replace("),(1,", &format!("{between}1,"));
            // What a value holds may look like the end of a row.
            prop_assume!(!pairs.iter().any(|(_, value)| value.contains("),(1,")));
            text = format!("{text}INSERT INTO `t_settings` VALUES {rows};\n");
        }
        prop_assert_eq!(snailyp::settings_in_dump("x", &text).unwrap(), pairs);
    }

    #[test]
    fn keys_and_tokens_come_back_from_variables_and_none_is_told(
        keys in vec("(AIza|AQ[.])Canary[A-Za-z0-9_-]{20,60}", 0..20),
        tokens in vec("sk-Canary[A-Za-z0-9!$%&*+/:=?@_.~-]{10,40}[a-z]", 0..20),
    ) {
        let list = |entries: &[String]| serde_json::to_string(entries).unwrap();
        let text = format!("ALLOWED_TOKENS='{}'\nAPI_KEYS={}\n", list(&tokens), list(&keys));
        let import = import(&[(".env", &text)]).unwrap();
        let once = |entries: &[String]| {
            let mut seen = std::collections::HashSet::new();
            entries.iter().filter(|entry| seen.insert((*entry).clone())).cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(self::keys(&import), once(&keys));
        prop_assert_eq!(self::tokens(&import), once(&tokens));
        prop_assert!(!told(&import).contains("Canary"));
    }

    #[test]
    fn any_document_is_read_without_a_panic_and_tells_no_secret(
        parts in vec(select(vec![
            "API_KEYS=", "ALLOWED_TOKENS=", "AUTH_TOKEN=", "PROXIES=", "BASE_URL=", "model_list:\n", "- litellm_params:", "\n",
            "  model: gemini/", "  api_key: ", "os.environ/", "general_settings:\n  master_key: ", "INSERT INTO `t_settings` VALUES (",
            "CREATE TABLE t_settings (", "'", "\"", "\\", ",", ")", ";", "[", "]", "{", "}", "*", "&a ", "*a", "`", "--", "/*", "#", "=", "é",
            "AIzaSyCanaryCanaryCanary0123456789", "sk-CanaryCanaryCanaryCanary", "AQ.CanaryCanaryCanary_01", "http://a:Canary@b", "7",
        ]), 0..40),
        name in select(vec![".env", "config.yaml", "keys-a-all.txt", "dump.sql", "x"]),
        vendor in select(vec![None, Some(Vendor::Snailyp), Some(Vendor::GptLoad), Some(Vendor::LiteLlm), Some(Vendor::Keys)]),
    ) {
        let documents = [document(name, &parts.concat())];
        match read(&documents, vendor, &nothing) {
            Ok(import) => prop_assert!(!told(&import).contains("Canary"), "{}", told(&import)),
            Err(error) => prop_assert!(!error.to_string().contains("Canary"), "{error}"),
        }
    }
}
