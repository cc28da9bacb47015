//! What is found in a pasted text: keys in whatever stands around them, where they stand, and nothing else.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use gemini::pasted::{KeyForm, MAX_PASTED_BYTES, MAX_PASTED_KEYS, PasteError, Pasted, form_of, read};
use proptest::{collection::vec, prelude::*, sample::select};

const ONE: &str = "AIzaSyPasted0123456789-abcdefghijklmno_";
const TWO: &str = "AQ.Ab8RN6Pasted-0123456789_abcdef";

fn texts<'a>(pasted: &Pasted<'a>) -> Vec<&'a str> {
    pasted.keys.iter().map(|key| key.text).collect()
}

fn places(text: &str) -> Vec<(usize, KeyForm, bool)> {
    read(text).unwrap().keys.iter().map(|key| (key.line, key.form, key.is_repeated)).collect()
}

#[test]
fn keys_are_found_in_whatever_stands_around_them() {
    for (text, others) in [
        (format!("{ONE}\n{TWO}"), 0),
        (format!("  {ONE}\r\n\r\n{TWO}\r\n"), 0),
        (format!("{ONE},{TWO}"), 0),
        (format!("{ONE}; {TWO};"), 0),
        (format!("{ONE}\t{TWO}"), 0),
        (format!("[\"{ONE}\",\"{TWO}\"]"), 0),
        (format!("[\\\"{ONE}\\\",\\\"{TWO}\\\"]"), 0),
        (format!("['{ONE}', '{TWO}',]"), 0),
        (format!("GOOGLE_API_KEYS={ONE},{TWO}"), 0),
        (format!("GOOGLE_API_KEYS=\"{ONE},{TWO}\""), 0),
        (format!("export A={ONE}\nexport A-LONG-NAME.OF_MORE_THAN_20=\"{TWO}\""), 2),
        (format!("--api-key={ONE} --other={TWO}"), 0),
        (format!("- {ONE}\n- {TWO}"), 0),
        (format!("a: {ONE}\nb: {TWO}"), 2),
        (format!("{{\"a\":\"{ONE}\",\"b\":{{\"c\":\"{TWO}\"}}}}"), 3),
        (format!("({ONE}) <{TWO}>"), 0),
        (format!("My keys are {ONE} and {TWO}."), 4),
        (format!("\u{feff}{ONE}\u{3001}{TWO}\u{200b}"), 0),
        (format!("\u{201c}{ONE}\u{201d}\u{ff0c}\u{2018}{TWO}\u{2019}"), 0),
        (format!("\u{5bc6}\u{94a5}\u{ff08}{ONE}\u{ff09}\u{ff1b}{TWO}"), 1),
        (format!("{ONE}\0{TWO}\u{a0}"), 0),
    ] {
        let pasted = read(&text).unwrap();
        assert_eq!(texts(&pasted), [ONE, TWO], "{text:?}");
        assert_eq!(pasted.other_count, others, "{text:?}: {:?}", pasted.others);
    }
}

#[test]
fn keys_are_found_in_words_that_hold_more_than_them() {
    for text in [
        format!("key:{ONE} x-goog-api-key:{TWO}"),
        format!("https://generativelanguage.googleapis.com/v1beta/models?key={ONE}&x=1#{TWO}"),
        format!("**{ONE}** *{TWO}*"),
        format!("|{ONE}|team|\n|{TWO}|10|"),
        format!("{ONE}|{TWO}"),
        format!("{ONE}/{TWO}"),
        format!("{ONE}\u{b7}{TWO}"),
        format!("{ONE}:10\n#{TWO}"),
        format!("K1={ONE}&K2={TWO}"),
        format!("{ONE}=an-alias-of-more-than-20\n{TWO}="),
        format!("key%3D{ONE}%2C{TWO}"),
        format!("{ONE}\\n{TWO}\\r\\n"),
        format!("?key={ONE}\\u0026key={TWO}."),
        format!("\u{5bc6}\u{94a5}\u{ff1a}{ONE}\u{ff5c}{TWO}\u{3002}"),
    ] {
        let pasted = read(&text).unwrap();
        assert_eq!(texts(&pasted), [ONE, TWO], "{text:?}");
        assert_eq!(pasted.other_count, 0, "{text:?}: {:?}", pasted.others);
    }
    // A part that is cut short is named, and so is a word that holds no key of the usual form.
    let pasted =
        format!("\n{ONE}|AIzaSyCutShort|x\nkey:sk-0123456789abcdefghij https://a.example.com/of/no/key");
    let pasted = read(&pasted).unwrap();
    assert_eq!(texts(&pasted), [ONE]);
    let others: Vec<_> = pasted.others.iter().map(|word| (word.line, word.length)).collect();
    assert_eq!(others, [(2, 14), (3, 27), (3, 31)]);
}

#[test]
fn a_key_has_its_line_its_form_and_says_whether_it_was_there_before() {
    use KeyForm::{Unusual, Usual};
    let odd = "sk-0123456789abcdefghij";
    let text = format!("# mine\n{ONE} {odd}\n\n{TWO}\n{ONE}\n{odd}");
    assert_eq!(
        places(&text),
        [(2, Usual, false), (2, Unusual, false), (4, Usual, false), (5, Usual, true), (6, Unusual, true)]
    );
    for (key, form) in [(ONE, Usual), (TWO, Usual), (odd, Unusual), ("aiza0123456789abcdefgh", Unusual)] {
        assert_eq!(form_of(key), form);
    }
}

#[test]
fn what_can_be_no_key_is_named_by_its_place_and_length() {
    let long = "x".repeat(257);
    for word in [
        "short",
        "AIza...",
        "AIzaSyWithDotsAtItsEnd0123...",
        "...cutAtItsBegin0123456789",
        &long,
        "a|b0123456789012345678",
    ] {
        let text = format!("\n{word}");
        let pasted = read(&text).unwrap();
        assert!(pasted.keys.is_empty(), "{word}");
        assert_eq!((pasted.others[0].line, pasted.others[0].length, pasted.other_count), (2, word.len(), 1));
    }
    for (length, is_key) in [(19, false), (20, true), (256, true), (257, false)] {
        assert_eq!(read(&"k".repeat(length)).unwrap().keys.len(), usize::from(is_key), "{length}");
    }
    for nothing in ["", "\n\n", " , ; \"\" [] {} = : - # .", "NAME=\"\""] {
        assert_eq!(read(nothing).unwrap(), Pasted::default(), "{nothing:?}");
    }
    let many = read(&"no ".repeat(5_000)).map(|pasted| (pasted.others.len(), pasted.other_count));
    assert_eq!(many, Ok((1_000, 5_000)));
}

#[test]
fn the_text_and_the_keys_are_bounded_and_what_is_refused_is_one_line() {
    let key = |n: usize| format!("AIzaSyNumber{n:08}");
    let all = |count| (0..count).map(key).collect::<Vec<_>>().join("\n");
    assert_eq!(read(&all(MAX_PASTED_KEYS)).unwrap().keys.len(), MAX_PASTED_KEYS);
    assert_eq!(read(&all(MAX_PASTED_KEYS + 1)).unwrap_err(), PasteError::TooManyKeys);
    assert_eq!(read(&" ".repeat(MAX_PASTED_BYTES)), Ok(Pasted::default()));
    assert_eq!(read(&" ".repeat(MAX_PASTED_BYTES + 1)).unwrap_err(), PasteError::TooLong);
    for error in [PasteError::TooManyKeys, PasteError::TooLong] {
        let line = error.to_string();
        assert!(line.contains("in parts") && line.lines().count() == 1, "{line}");
    }
    assert!(!format!("{:?}", read(ONE)).contains("Pasted0"), "what is printed tells nothing of the key");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_come_back_in_their_order_whatever_separates_them(
        keys in vec("(AIza|AQ[.]|[a-z])[A-Za-z0-9_-]{20,60}", 0..40),
        separators in vec(select(vec![" ", "\n", "\r\n", ",", ", ", ";", "\"", "\",\"", "'", "`", "[", "]", "\t", "\u{3000}", "\u{ff0c}", ".\n"]), 40),
        name in select(vec!["", "KEYS=", "a.b-c=", "export X="]),
    ) {
        let mut text = name.to_owned();
        for (key, separator) in keys.iter().zip(&separators) {
            text.push_str(key);
            text.push_str(separator);
        }
        let pasted = read(&text).unwrap();
        prop_assert_eq!(texts(&pasted), keys.iter().map(String::as_str).collect::<Vec<_>>());
        for (position, key) in pasted.keys.iter().enumerate() {
            prop_assert_eq!(key.is_repeated, keys[..position].iter().any(|other| other == key.text));
            let before = &text[..key.text.as_ptr() as usize - text.as_ptr() as usize];
            prop_assert_eq!(key.line, 1 + before.matches('\n').count());
        }
    }

    #[test]
    fn a_key_of_the_usual_form_is_found_between_any_signs_that_no_key_can_hold(
        key in "(AIza|AQ[.])[A-Za-z0-9_-]{20,60}",
        before in "([a-z0-9]{0,9}[^A-Za-z0-9_.%\\\\\n-]){0,9}",
        after in "([^A-Za-z0-9_.\n-][a-z0-9]{0,9}){0,9}",
    ) {
        let text = format!("{before}{key}{after}");
        prop_assert_eq!(texts(&read(&text).unwrap()), [&*key]);
    }

    #[test]
    fn any_text_is_read_without_a_panic_and_every_key_has_the_form_of_one(text in "\\PC{0,300}|[A-Za-z0-9._=\\\\\"',; \n-]{0,600}") {
        let pasted = read(&text).unwrap();
        for key in &pasted.keys {
            prop_assert!((20..=256).contains(&key.text.len()));
            prop_assert!(key.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)));
            // What was found is found again by itself.
            prop_assert_eq!(texts(&read(key.text).unwrap()), [key.text]);
        }
        prop_assert!(pasted.keys.len() + pasted.other_count <= text.len() / 2 + 1);
    }
}
