//! Tool calls that a prompt asks for in so many words: `call NAME {...}` or `use the tool NAME with {...}`. Several are made
//! at once, and after the word `then` in the next step. Pure; `echo` obeys.

use serde_json::{Map, Value};

/// A call of a function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WantedCall {
    pub(crate) name: String,
    /// The call's arguments, a JSON object.
    pub(crate) args: Value,
}

/// More calls than this are not obeyed.
const MOST: usize = 64;

/// Returns the calls that `text` asks for, step by step. `known` says whether a function is on offer.
pub(crate) fn demanded(text: &str, known: impl Fn(&str) -> bool) -> Vec<Vec<WantedCall>> {
    let mut steps: Vec<Vec<WantedCall>> = Vec::new();
    let (mut rest, mut between, mut count) = (text, false, 0);
    while count < MOST
        && let Some(at) = rest.find('{')
    {
        let before = &rest[..at];
        let mut values = serde_json::Deserializer::from_str(&rest[at..]).into_iter::<Map<String, Value>>();
        let args = values.next().and_then(Result::ok);
        let end = if args.is_some() { at + values.byte_offset() } else { at + 1 };
        between |= before.split(|c: char| !c.is_alphanumeric()).any(|word| word.eq_ignore_ascii_case("then"));
        if let (Some(args), Some(name)) = (args, named(before))
            && known(name)
        {
            let call = WantedCall { name: name.to_owned(), args: Value::Object(args) };
            match steps.last_mut().filter(|_| !between) {
                Some(step) => step.push(call),
                None => steps.push(vec![call]),
            }
            count += 1;
            between = false;
        }
        rest = &rest[end..];
    }
    steps
}

/// The function that the words before an object name.
fn named(before: &str) -> Option<&str> {
    let mut words = before.split_whitespace().rev().map(|word| word.trim_matches(['`', '"', '\'', '*']));
    let last = words.next()?;
    let (name, verb) = if last == "with" {
        let name = words.next()?;
        (name, ["tool", "the", "use"])
    } else {
        (last, ["call", "", ""])
    };
    let said = verb.iter().filter(|word| !word.is_empty());
    let agrees = said.clone().zip(&mut words).filter(|(said, word)| word.eq_ignore_ascii_case(said)).count();
    (agrees == said.count()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn steps(text: &str) -> Vec<Vec<(String, Value)>> {
        let offered = |name: &str| ["Bash", "Read", "mcp__a-b.c"].contains(&name);
        let steps = demanded(text, offered).into_iter();
        steps.map(|step| step.into_iter().map(|call| (call.name, call.args)).collect()).collect()
    }

    #[test]
    fn a_prompt_may_demand_calls_at_once_and_one_after_the_other() {
        let bash = |command: &str| ("Bash".to_owned(), json!({"command": command}));
        let read = ("Read".to_owned(), json!({"path": "{x}"}));
        let cases = [
            (r#"call Bash {"command":"echo hi"}"#, vec![vec![bash("echo hi")]]),
            (r#"Please call `Bash` {"command": "a"}."#, vec![vec![bash("a")]]),
            (r#"Use the tool Bash with {"command":"a"}"#, vec![vec![bash("a")]]),
            (
                r#"call Bash {"command":"a"} and call Read {"path":"{x}"}, then call Bash {"command":"b"}"#,
                vec![vec![bash("a"), read], vec![bash("b")]],
            ),
            (r#"<x>{"a":1} {</x> call Bash {"command":"a"}"#, vec![vec![bash("a")]]),
            ("call mcp__a-b.c {}", vec![vec![("mcp__a-b.c".to_owned(), json!({}))]]),
            (r#"call Write {"a":1}"#, vec![]),
            (r#"recall Bash {"command":"a"}"#, vec![]),
            (r#"use Bash with {"command":"a"}"#, vec![]),
            (r#"call Bash ["a"] {"#, vec![]),
            ("hello", vec![]),
        ];
        for (text, expected) in cases {
            assert_eq!(steps(text), expected, "{text}");
        }
    }

    #[test]
    fn there_is_a_limit() {
        let text = r#"call Bash {"command":"a"} "#.repeat(1000);
        assert_eq!(steps(&text)[0].len(), MOST);
    }
}
