//! A table of usage objects as Google says them, in each of their forms, with what of them is charged and what it costs,
//! worked out by hand from Google's price list.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use chrono::NaiveDate;
use gemini::usage::{UsageKey, UsageScanner};
use usage::{Billable, Cost, Money, Prices, Processing, billable};

/// Input, cached, output, thoughts, tool.
type Tokens = [u64; 5];

struct Line {
    model: &'static str,
    body: &'static str,
    tokens: Tokens,
    /// With nine decimals; `None`: unknown.
    cost: Option<&'static str>,
}

const fn line(model: &'static str, body: &'static str, tokens: Tokens, cost: &'static str) -> Line {
    Line { model, body, tokens, cost: Some(cost) }
}

const fn unpriced(model: &'static str, body: &'static str, tokens: Tokens) -> Line {
    Line { model, body, tokens, cost: None }
}

#[rustfmt::skip]
const NATIVE: &[Line] = &[
    // 1000 x 0.30 + 500 x 2.50, for a million.
    line("gemini-2.5-flash", r#"{"usageMetadata":{"promptTokenCount":1000,"candidatesTokenCount":500,"totalTokenCount":1500}}"#, [1000, 0, 500, 0, 0], "0.001550000"),
    // Cached is part of the prompt: 700 x 0.30 + 300 x 0.03 + 500 x 2.50.
    line("gemini-2.5-flash", r#"{"usageMetadata":{"promptTokenCount":1000,"candidatesTokenCount":500,"totalTokenCount":1500,"cachedContentTokenCount":300}}"#, [700, 300, 500, 0, 0], "0.001469000"),
    // Thoughts are beside the candidates, and output: 100 x 0.30 + (20 + 480) x 2.50.
    line("gemini-2.5-flash", r#"{"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":20,"thoughtsTokenCount":480,"totalTokenCount":600}}"#, [100, 0, 20, 480, 0], "0.001280000"),
    // Tool prompts are beside the prompt, and input: (100 + 900) x 0.30 + 10 x 2.50.
    line("gemini-2.5-flash", r#"{"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":10,"toolUsePromptTokenCount":900,"totalTokenCount":1010}}"#, [100, 0, 10, 0, 900], "0.000325000"),
    // Everything at once: (600 + 50) x 1.25 + 400 x 0.125 + (70 + 30) x 10.
    line("gemini-2.5-pro", r#"{"usageMetadata":{"promptTokenCount":1000,"cachedContentTokenCount":400,"candidatesTokenCount":70,"thoughtsTokenCount":30,"toolUsePromptTokenCount":50,"totalTokenCount":1150}}"#, [600, 400, 70, 30, 50], "0.001862500"),
    // At the bound the short prices hold: 200000 x 1.25 + 1 x 10.
    line("gemini-2.5-pro", r#"{"usageMetadata":{"promptTokenCount":200000,"candidatesTokenCount":1,"totalTokenCount":200001}}"#, [200_000, 0, 1, 0, 0], "0.250010000"),
    // One token above it the long ones, for all tokens: 200001 x 2.50 + 1 x 15.
    line("gemini-2.5-pro", r#"{"usageMetadata":{"promptTokenCount":200001,"candidatesTokenCount":1,"totalTokenCount":200002}}"#, [200_001, 0, 1, 0, 0], "0.500017500"),
    // The prompt's own size chooses, cached or not: 1 x 2.50 + 250000 x 0.25 + 100 x 15.
    line("gemini-2.5-pro", r#"{"usageMetadata":{"promptTokenCount":250001,"cachedContentTokenCount":250000,"candidatesTokenCount":100,"totalTokenCount":250101}}"#, [1, 250_000, 100, 0, 0], "0.064002500"),
    // Not what tools or thoughts add: (150000 + 100000) x 1.25 + 100000 x 10.
    line("gemini-2.5-pro", r#"{"usageMetadata":{"promptTokenCount":150000,"toolUsePromptTokenCount":100000,"thoughtsTokenCount":100000,"totalTokenCount":350000}}"#, [150_000, 0, 0, 100_000, 100_000], "1.312500000"),
    // Flash has no such bound: 900000 x 0.30.
    line("gemini-2.5-flash", r#"{"usageMetadata":{"promptTokenCount":900000,"totalTokenCount":900000}}"#, [900_000, 0, 0, 0, 0], "0.270000000"),
    // 3 x 0.10 + 1 x 0.01 + 2 x 0.40: fractions of a millionth are kept.
    line("gemini-2.5-flash-lite", r#"{"usageMetadata":{"promptTokenCount":4,"cachedContentTokenCount":1,"candidatesTokenCount":2,"totalTokenCount":6}}"#, [3, 1, 2, 0, 0], "0.000001110"),
    // 1 x 0.025 of gemini-3.1-flash-lite is 25 billionths.
    line("gemini-3.1-flash-lite", r#"{"usageMetadata":{"promptTokenCount":1,"cachedContentTokenCount":1,"totalTokenCount":1}}"#, [0, 1, 0, 0, 0], "0.000000025"),
    // 12345 x 1.50 + 678 x 9 + 910 x 9.
    line("gemini-3.5-flash", r#"{"usageMetadata":{"promptTokenCount":12345,"candidatesTokenCount":678,"thoughtsTokenCount":910,"totalTokenCount":13933}}"#, [12_345, 0, 678, 910, 0], "0.032809500"),
    // 100 x 2 + 100 x 12.
    line("gemini-3.1-pro-preview", r#"{"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":100,"totalTokenCount":200}}"#, [100, 0, 100, 0, 0], "0.001400000"),
    // The same by a name that the pattern covers, above the bound: 300000 x 4 + 100 x 18.
    line("gemini-3.1-pro-preview-customtools", r#"{"usageMetadata":{"promptTokenCount":300000,"candidatesTokenCount":100,"totalTokenCount":300100}}"#, [300_000, 0, 100, 0, 0], "1.201800000"),
    // A prompt that was refused has no candidates: 50 x 0.50.
    line("gemini-3-flash-preview", r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":50,"totalTokenCount":50}}"#, [50, 0, 0, 0, 0], "0.000025000"),
    // Of a stream the last one counts: 10 x 0.30 + 30 x 2.50.
    line("gemini-2.5-flash", "data: {\"usageMetadata\":{\"promptTokenCount\":10,\"candidatesTokenCount\":5}}\r\n\r\ndata: {\"usageMetadata\":{\"promptTokenCount\":10,\"candidatesTokenCount\":30}}\r\n\r\n", [10, 0, 30, 0, 0], "0.000078000"),
    // More cached than there was prompt is cut to the prompt: 100 x 0.03.
    line("gemini-2.5-flash", r#"{"usageMetadata":{"promptTokenCount":100,"cachedContentTokenCount":500,"totalTokenCount":100}}"#, [0, 100, 0, 0, 0], "0.000003000"),
    // An embedding: 2000 x 0.15.
    line("gemini-embedding-001", r#"{"usageMetadata":{"promptTokenCount":2000,"totalTokenCount":2000}}"#, [2000, 0, 0, 0, 0], "0.000300000"),
    // Free of charge is a price.
    line("gemma-4-31b-it", r#"{"usageMetadata":{"promptTokenCount":2000,"candidatesTokenCount":9,"totalTokenCount":2009}}"#, [2000, 0, 9, 0, 0], "0.000000000"),
    // No price is none.
    unpriced("gemini-1.0-ultra", r#"{"usageMetadata":{"promptTokenCount":2000,"candidatesTokenCount":9,"totalTokenCount":2009}}"#, [2000, 0, 9, 0, 0]),
    // Nor is one of input alone, where there was output.
    unpriced("gemini-embedding-001", r#"{"usageMetadata":{"promptTokenCount":2000,"candidatesTokenCount":9,"totalTokenCount":2009}}"#, [2000, 0, 9, 0, 0]),
];

#[rustfmt::skip]
const OPENAI: &[Line] = &[
    // 1000 x 0.30 + 500 x 2.50, as natively.
    line("gemini-2.5-flash", r#"{"usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500}}"#, [1000, 0, 500, 0, 0], "0.001550000"),
    // The completion contains the thoughts: 100 x 0.30 + 500 x 2.50, not 980.
    line("gemini-2.5-flash", r#"{"usage":{"prompt_tokens":100,"completion_tokens":500,"completion_tokens_details":{"reasoning_tokens":480},"total_tokens":600}}"#, [100, 0, 20, 480, 0], "0.001280000"),
    // Nothing but thoughts.
    line("gemini-2.5-flash", r#"{"usage":{"prompt_tokens":100,"completion_tokens":480,"completion_tokens_details":{"reasoning_tokens":480},"total_tokens":580}}"#, [100, 0, 0, 480, 0], "0.001230000"),
    // Cached is part of the prompt here too: 700 x 0.30 + 300 x 0.03 + 500 x 2.50.
    line("gemini-2.5-flash", r#"{"usage":{"prompt_tokens":1000,"prompt_tokens_details":{"cached_tokens":300},"completion_tokens":500,"total_tokens":1500}}"#, [700, 300, 500, 0, 0], "0.001469000"),
    // The total knows of thoughts that are not named: 100 x 0.30 + (20 + 480) x 2.50.
    line("gemini-2.5-flash", r#"{"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":600}}"#, [100, 0, 20, 480, 0], "0.001280000"),
    // And of thoughts that are named, but not contained.
    line("gemini-2.5-flash", r#"{"usage":{"prompt_tokens":100,"completion_tokens":20,"completion_tokens_details":{"reasoning_tokens":480},"total_tokens":600}}"#, [100, 0, 20, 480, 0], "0.001280000"),
    // 200001 x 2.50 + 200 x 15.
    line("gemini-2.5-pro", r#"{"usage":{"prompt_tokens":200001,"completion_tokens":200,"total_tokens":200201}}"#, [200_001, 0, 200, 0, 0], "0.503002500"),
    // An embedding: 7 x 0.15.
    line("gemini-embedding-001", r#"{"data":[],"usage":{"prompt_tokens":7,"total_tokens":7}}"#, [7, 0, 0, 0, 0], "0.000001050"),
    // Its usage is cumulative, and repeated in every chunk: 10 x 0.75 + 30 x 3.75.
    line("gemini-3.8-flash", "data: {\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}\n\ndata: {\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":30,\"total_tokens\":40}}\n\ndata: [DONE]\n\n", [10, 0, 30, 0, 0], "0.000120000"),
    unpriced("imagen-4", r#"{"usage":{"prompt_tokens":7,"total_tokens":7}}"#, [7, 0, 0, 0, 0]),
];

#[rustfmt::skip]
const INTERACTIONS_AND_LIVE: &[Line] = &[
    // Thoughts beside the output: 7 x 0.30 + (20 + 22) x 2.50.
    line("gemini-2.5-flash", r#"{"usage":{"total_input_tokens":7,"total_output_tokens":20,"total_thought_tokens":22,"total_cached_tokens":0,"total_tool_use_tokens":0,"total_tokens":49}}"#, [7, 0, 20, 22, 0], "0.000107100"),
    // (60 + 30) x 1.25 + 40 x 0.125 + 10 x 10.
    line("gemini-2.5-pro", r#"{"usage":{"total_input_tokens":100,"total_cached_tokens":40,"total_output_tokens":10,"total_tool_use_tokens":30,"total_tokens":140}}"#, [60, 40, 10, 0, 30], "0.000217500"),
    // Inside an event of a stream: 5 x 1.50 + 6 x 9.
    line("gemini-3.5-flash", "data: {\"event_type\":\"interaction.completed\",\"interaction\":{\"usage\":{\"total_input_tokens\":5,\"total_output_tokens\":6,\"total_tokens\":11}}}\n\n", [5, 0, 6, 0, 0], "0.000061500"),
    // 300000 x 2.50 + 1 x 15.
    line("gemini-2.5-pro", r#"{"usage":{"total_input_tokens":300000,"total_output_tokens":1,"total_tokens":300001}}"#, [300_000, 0, 1, 0, 0], "0.750015000"),
    // A turn of a Live session, at the prices of a model that has them: 100 x 0.30 + 7 x 2.50.
    line("gemini-2.5-flash", r#"{"usageMetadata":{"promptTokenCount":100,"responseTokenCount":7,"totalTokenCount":107}}"#, [100, 0, 7, 0, 0], "0.000047500"),
    // With thoughts: 100 x 0.30 + (7 + 3) x 2.50.
    line("gemini-2.5-flash", r#"{"usageMetadata":{"promptTokenCount":100,"responseTokenCount":7,"thoughtsTokenCount":3,"totalTokenCount":110}}"#, [100, 0, 7, 3, 0], "0.000055000"),
    // A session's prompts together are no long prompt: 400000 x 1.25 + 1 x 10.
    line("gemini-2.5-pro", r#"{"usageMetadata":{"promptTokenCount":400000,"responseTokenCount":1,"totalTokenCount":400001}}"#, [400_000, 0, 1, 0, 0], "0.500010000"),
    // Live models speak, which the table has no price for.
    unpriced("gemini-3.8-live", r#"{"usageMetadata":{"promptTokenCount":100,"responseTokenCount":7,"totalTokenCount":107}}"#, [100, 0, 7, 0, 0]),
];

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

fn read(body: &str) -> Billable {
    let mut scanner = UsageScanner::new(UsageKey::Any);
    scanner.push(body.as_bytes());
    billable(&scanner.finish().unwrap()).unwrap()
}

fn money(text: &str) -> Money {
    Money::from_billionths(text.replace('.', "").parse().unwrap())
}

#[test]
fn what_is_not_said_is_what_the_others_leave_of_the_total_and_a_total_alone_is_nothing_to_charge() {
    for (body, tokens) in [
        (r#"{"promptTokenCount":100,"totalTokenCount":170}"#, [100, 0, 70, 0, 0]),
        (r#"{"promptTokenCount":100,"thoughtsTokenCount":30,"totalTokenCount":130}"#, [100, 0, 0, 30, 0]),
        (r#"{"promptTokenCount":100,"toolUsePromptTokenCount":5,"totalTokenCount":112}"#, [100, 0, 7, 0, 5]),
        (r#"{"candidatesTokenCount":7,"totalTokenCount":107}"#, [100, 0, 7, 0, 0]),
        (
            r#"{"candidatesTokenCount":7,"cachedContentTokenCount":40,"totalTokenCount":107}"#,
            [60, 40, 7, 0, 0],
        ),
        (r#"{"candidatesTokenCount":7}"#, [0, 0, 7, 0, 0]),
        (r#"{"promptTokenCount":100,"totalTokenCount":90}"#, [100, 0, 0, 0, 0]),
        (r#"{"totalTokenCount":0}"#, [0; 5]),
    ] {
        let Billable { input, cached, output, thoughts, tool, .. } =
            read(&format!(r#"{{"usageMetadata":{body}}}"#));
        assert_eq!([input, cached, output, thoughts, tool], tokens, "{body}");
    }
    for body in [r#"{"usageMetadata":{"totalTokenCount":107}}"#, r#"{"usage":{"total_tokens":107}}"#] {
        let mut scanner = UsageScanner::new(UsageKey::Any);
        scanner.push(body.as_bytes());
        assert_eq!(billable(&scanner.finish().unwrap()), None, "{body}");
    }
}

#[test]
fn each_of_forty_usage_objects_costs_what_the_list_says() {
    let mut prices = Prices::new(&[]).unwrap();
    let lines: Vec<_> = [NATIVE, OPENAI, INTERACTIONS_AND_LIVE].concat_refs();
    assert_eq!(lines.len(), 40);
    for Line { model, body, tokens, cost } in lines {
        let billable = read(body);
        let Billable { input, cached, output, thoughts, tool, .. } = billable;
        assert_eq!([input, cached, output, thoughts, tool], *tokens, "{body}");
        let found = prices.cost(model, Some(&billable), 1, Processing::Standard, day(2026, 11, 27));
        assert_eq!(found, cost.map_or(Cost::Unknown, |text| Cost::Known(money(text))), "{model} {body}");
        if let (Cost::Known(whole), Cost::Known(half)) =
            (found, prices.cost(model, Some(&billable), 1, Processing::Batch, day(2026, 11, 27)))
        {
            assert_eq!(
                half.billionths(),
                whole.billionths().div_ceil(2),
                "a batch is half the price: {body}"
            );
        }
    }
}

trait ConcatRefs {
    fn concat_refs(&self) -> Vec<&'static Line>;
}

impl ConcatRefs for [&'static [Line]; 3] {
    fn concat_refs(&self) -> Vec<&'static Line> {
        self.iter().flat_map(|lines| lines.iter()).collect()
    }
}

#[test]
fn a_price_holds_from_its_day_on() {
    let mut prices = Prices::new(&[]).unwrap();
    let used = Billable { input: 1_000_000, ..Billable::default() };
    for (model, on, cost) in [
        ("gemini-4-argon", day(2026, 11, 30), "2.000000000"),
        ("gemini-4-argon", day(2026, 12, 1), "4.000000000"),
        ("gemini-3.8-flash", day(2026, 12, 31), "0.750000000"),
        ("gemini-3.8-flash", day(2027, 1, 1), "1.500000000"),
        ("gemini-3.8-flash", day(2020, 1, 1), "0.750000000"),
    ] {
        assert_eq!(
            prices.cost(model, Some(&used), 1, Processing::Standard, on),
            Cost::Known(money(cost)),
            "{model} {on}"
        );
    }
}
