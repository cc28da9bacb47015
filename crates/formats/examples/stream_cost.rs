//! Plays one stream of Google's, 50 events as the benchmark's upstream sends them, through a format's translator many
//! times, for a profiler to count: `stream_cost messages|responses [ROUNDS] [BYTES OF TEXT IN AN EVENT]`. Under
//! `valgrind --tool=callgrind` or `--tool=dhat`, two numbers of rounds subtract to what a stream takes.

use std::hint::black_box;

use formats::anthropic::{self, MessagesStream};
use formats::models::ModelMap;
use formats::responses::{self, ResponsesStream};
use formats::{AnswerMemory, AnswerSeed, AnswerStream, StreamEnd};

const EVENTS: usize = 50;

fn event(text: &str, is_last: bool) -> String {
    let finish = if is_last { r#","finishReason":"STOP""# } else { "" };
    format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}],"role":"model"}},"index":0{finish}}}],"usageMetadata":{{"promptTokenCount":7,"candidatesTokenCount":9,"totalTokenCount":16}},"modelVersion":"gemini-2.5-flash","t":"1234567890123"}}"#
    )
}

fn memory(is_messages: bool) -> Option<AnswerMemory> {
    let models = ModelMap::new([("claude-*", "gemini-2.5-flash"), ("gpt-*", "gemini-2.5-flash")]).ok()?;
    if is_messages {
        let request = br#"{"model":"claude-x","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
        return anthropic::messages(request, &models, &|_| false, None).ok().map(|call| call.memory);
    }
    let request = br#"{"model":"gpt-x","stream":true,"input":"hi"}"#;
    responses::create(request, &models, &|_| false, None).ok().map(|create| create.call.memory)
}

/// Plays the stream, into the one buffer that a connection has.
fn play(machine: &mut dyn AnswerStream, event: &str, last: &str) {
    let mut told = Vec::new();
    for _ in 1..EVENTS {
        machine.push_into(black_box(event.as_bytes()), &mut told);
    }
    machine.push_into(black_box(last.as_bytes()), &mut told);
    machine.end_into(StreamEnd::Complete, &mut told);
    black_box(told);
}

fn main() -> Result<(), &'static str> {
    let mut arguments = std::env::args().skip(1);
    let is_messages = match arguments.next().as_deref() {
        Some("messages") => true,
        Some("responses") => false,
        _ => return Err("say messages or responses"),
    };
    let mut number = |otherwise| arguments.next().map_or(Some(otherwise), |word| word.parse().ok());
    let (rounds, text_bytes) = number(1000).zip(number(200)).ok_or("rounds and bytes are numbers")?;
    let text = "x".repeat(text_bytes);
    let (event, last) = (event(&text, false), event(&text, true));
    let memory = memory(is_messages).ok_or("the request was refused")?;
    for _ in 0..rounds {
        let seed = AnswerSeed::new("0123456789abcdef0123456789abcdef", 1_700_000_000);
        if is_messages {
            play(&mut MessagesStream::new(memory.clone(), seed), &event, &last);
        } else {
            play(&mut ResponsesStream::new(memory.clone(), seed), &event, &last);
        }
    }
    Ok(())
}
