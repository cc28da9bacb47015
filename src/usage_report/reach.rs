//! Of how many gateways an answer about the usage is, as it is told and read.

use crate::{
    counted::counted,
    printable::{Printable, bounded},
};
use gemini_balance_actors::cluster::GatewaysCounted;
use serde_json::{Value, json};

/// Where it is told beside CSV, which has no place for it.
pub(crate) const REACH_HEADER: &str = "x-gemini-balance-gateways";

/// As JSON.
pub(super) fn reach_json(counted: &GatewaysCounted) -> Value {
    let mut told = json!({ "counted": counted.counted, "whole": counted.is_whole() });
    if let Some(why) = &counted.why {
        told["why"] = why.as_str().into();
    }
    told
}

/// As a line for people; `None` where nothing was told: there is one gateway only.
pub(crate) fn reach_line(told: &Value) -> Option<String> {
    let gateways = counted(told["counted"].as_u64()?, "gateway");
    Some(match told["why"].as_str() {
        None => format!("counted: {gateways}"),
        Some(why) => format!("counted: {gateways}, which may not be all: {}", Printable(bounded(why, 500))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_again_and_said_in_one_line() {
        let line = |counted, why: Option<&str>| {
            let counted = GatewaysCounted { counted, why: why.map(str::to_owned) };
            reach_line(&reach_json(&counted)).unwrap()
        };
        assert_eq!(line(3, None), "counted: 3 gateways");
        assert_eq!(
            line(1, Some("Redis did not answer\nin time")),
            "counted: 1 gateway, which may not be all: Redis did not answer\\nin time"
        );
        assert_eq!(reach_line(&Value::Null), None, "of one that is no cluster");
    }
}
