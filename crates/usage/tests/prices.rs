//! Tables of prices: what is refused, and which entry counts.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use chrono::NaiveDate;
use usage::{Billable, Cost, Money, PriceEntry, PriceError, Prices, Processing};

fn entry(text: &str) -> PriceEntry {
    serde_json::from_str(text).unwrap()
}

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 27).unwrap()
}

/// What a million tokens of input cost, in millionths.
fn million(prices: &mut Prices, model: &str) -> Option<u64> {
    let used = Billable { input: 1_000_000, ..Billable::default() };
    match prices.cost(model, Some(&used), 1, Processing::Standard, today()) {
        Cost::Known(money) => Some(money.billionths() / 1_000),
        Cost::Unknown => None,
        Cost::Free => panic!("a price is never free"),
    }
}

#[test]
fn a_price_of_a_models_full_name_is_that_of_the_name_it_is_counted_under() {
    let mut prices = Prices::new(&[entry(r#"{"model":"models/zz-1","input":1}"#)]).unwrap();
    assert_eq!(million(&mut prices, "zz-1"), Some(1_000_000));
}

#[test]
fn the_operators_entries_go_before_the_built_in_table_and_the_first_that_matches_counts() {
    let entries = [
        entry(r#"{"model":"gemini-2.5-flash","input":1}"#),
        entry(r#"{"model":"gemini-2.5-*","input":2}"#),
        entry(r#"{"model":"gemini-2.5-pro","input":3}"#),
        entry(r#"{"model":"mine-?","input":4}"#),
    ];
    let mut prices = Prices::new(&entries).unwrap();
    for (model, expected) in [
        ("gemini-2.5-flash", Some(1_000_000)),
        ("gemini-2.5-flash-lite", Some(2_000_000)),
        ("gemini-2.5-pro", Some(2_000_000)),
        ("gemini-3.5-flash", Some(1_500_000)),
        ("mine-1", Some(4_000_000)),
        ("mine-12", None),
        ("", None),
        ("other", None),
    ] {
        // Twice: the second time from memory.
        assert_eq!([0, 1].map(|_| million(&mut prices, model)), [expected; 2], "{model}");
    }
}

#[test]
fn any_number_of_made_up_names_leaves_the_answers_right() {
    let mut prices = Prices::new(&[]).unwrap();
    for n in 0..5_000 {
        assert_eq!(million(&mut prices, &format!("made-up-{n}")), None);
        assert_eq!(million(&mut prices, "gemini-2.5-flash"), Some(300_000));
    }
}

#[test]
fn an_entry_of_the_operators_may_hold_from_a_day_on() {
    let entries = [
        entry(r#"{"model":"a","input":1,"from":"2026-11-27"}"#),
        entry(r#"{"model":"b","input":1,"from":"2026-11-28"}"#),
        entry(r#"{"model":"c","input":1}"#),
        entry(r#"{"model":"c","input":2,"from":"2026-01-01"}"#),
        entry(r#"{"model":"c","input":3,"from":"2026-06-01"}"#),
    ];
    let mut prices = Prices::new(&entries).unwrap();
    assert_eq!(
        ["a", "b", "c"].map(|model| million(&mut prices, model)),
        [Some(1_000_000), None, Some(3_000_000)]
    );
}

#[test]
fn a_request_may_have_a_price_of_its_own() {
    let entries = [
        entry(r#"{"model":"imagen-*","per_request":0.04}"#),
        entry(r#"{"model":"m","input":1,"per_request":0.5}"#),
    ];
    let mut prices = Prices::new(&entries).unwrap();
    let none = Billable::default();
    let some = Billable { input: 1_000_000, ..none };
    let mut cost = |model: &str, used, processing| prices.cost(model, Some(used), 1, processing, today());
    let known = |billionths| Cost::Known(Money::from_billionths(billionths));
    assert_eq!(cost("imagen-4", &none, Processing::Standard), known(40_000_000));
    assert_eq!(cost("m", &some, Processing::Standard), known(1_500_000_000));
    assert_eq!(cost("m", &some, Processing::Batch), known(750_000_000));
    assert_eq!(cost("imagen-4", &some, Processing::Standard), Cost::Unknown, "input has no price there");
    // What was used is not known: that matters unless a price for each request is all there is to pay.
    assert_eq!(prices.cost("m", None, 1, Processing::Standard, today()), Cost::Unknown);
    assert_eq!(prices.cost("imagen-4", None, 1, Processing::Standard, today()), known(40_000_000));
    assert_eq!(prices.cost("gemini-2.5-flash", None, 1, Processing::Standard, today()), Cost::Unknown);
}

#[test]
fn what_has_no_price_from_a_cache_costs_there_what_all_input_does() {
    let mut prices = Prices::new(&[entry(r#"{"model":"m","input":1}"#)]).unwrap();
    let used = Billable { cached: 1_000_000, ..Billable::default() };
    let cost = prices.cost("m", Some(&used), 1, Processing::Standard, today());
    assert_eq!(cost, Cost::Known(Money::from_billionths(1_000_000_000)));
}

#[test]
fn another_currency_sets_the_built_in_table_aside_and_two_are_refused() {
    let euros = entry(r#"{"model":"m","input":1,"currency":"EUR"}"#);
    let mut prices = Prices::new(std::slice::from_ref(&euros)).unwrap();
    assert_eq!(million(&mut prices, "gemini-2.5-flash"), None);
    assert_eq!(prices.currency(), "EUR");
    let dollars = entry(r#"{"model":"n","input":1}"#);
    assert_eq!(
        Prices::new(&[euros, dollars]).unwrap_err(),
        PriceError::Currencies("EUR".to_owned(), "USD".to_owned())
    );
    assert_eq!(Prices::new(&[]).unwrap().currency(), "USD");
}

#[test]
fn what_is_no_price_is_refused_in_one_line_that_names_the_model() {
    for text in [
        r#"{"model":"m"}"#,
        r#"{"model":"m","cached":1}"#,
        r#"{"model":"m","input":-1}"#,
        r#"{"model":"m","input":1000001}"#,
        r#"{"model":"m","input":1,"output":1e300}"#,
        r#"{"model":"m","input":1,"per_request":-0.5}"#,
        r#"{"model":"m","input":1,"above_tokens":5}"#,
        r#"{"model":"m","input":1,"input_above":5}"#,
        r#"{"model":"m","input":1,"above_tokens":5,"input_above":1}"#,
        r#"{"model":"m","input":1,"above_tokens":5,"output_above":1}"#,
    ] {
        let error = Prices::new(&[entry(text)]).unwrap_err().to_string();
        assert!(error.contains(" m ") && !error.contains('\n'), "{text}: {error}");
    }
    assert!(serde_json::from_str::<PriceEntry>(r#"{"model":"m","input":1,"inptu":1}"#).is_err());
    let not_a_number = PriceEntry { input: Some(f64::NAN), ..entry(r#"{"model":"m","input":1}"#) };
    assert!(Prices::new(&[not_a_number]).is_err());
}

#[test]
fn counts_beyond_all_reason_are_the_most_there_is_and_no_panic() {
    let mut prices = Prices::new(&[entry(r#"{"model":"m","input":1000000,"output":1000000}"#)]).unwrap();
    let all = Billable {
        input: u64::MAX,
        cached: u64::MAX,
        output: u64::MAX,
        thoughts: u64::MAX,
        tool: u64::MAX,
        prompt: u64::MAX,
    };
    assert_eq!(prices.cost("m", Some(&all), 1, Processing::Standard, today()), Cost::Known(Money::MAX));
}

#[test]
fn every_line_of_the_built_in_table_says_where_it_is_from() {
    let table: toml::Table = toml::from_str(include_str!("../../../prices.toml")).unwrap();
    let lines = table["prices"].as_array().unwrap();
    assert!(lines.len() > 30);
    for line in lines {
        assert!(line["source"].as_str().unwrap().starts_with("https://"), "{line:?}");
    }
    assert!(table["read"].as_str().unwrap().parse::<NaiveDate>().is_ok());
}
