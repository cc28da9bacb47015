//! Where nginx or HAProxy refuse what the gateway takes, or take what it refuses, and why that is as it should be. Any other
//! difference fails. One that is gone does not: their versions differ, and a later one may agree.

use crate::ambiguous::TARGETS;
use std::collections::BTreeSet;

/// Whether something is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passes,
    Refuses,
}

/// Inputs that the gateway and some of the others do not agree about.
struct Difference {
    gateway: Verdict,
    others: &'static [&'static str],
    why: &'static str,
    inputs: &'static [&'static str],
}

const EITHER: &[&str] = &["nginx", "HAProxy"];
const NGINX: &[&str] = &["nginx"];
const HAPROXY: &[&str] = &["HAProxy"];

const DIFFERENCES: &[Difference] = &[
    // What the gateway takes.
    Difference {
        gateway: Verdict::Passes,
        others: NGINX,
        why: "tabs around a value are no part of it (RFC 9110 §5.5); nginx knows spaces only",
        inputs: &["a length behind a tab", "chunks behind a tab", "chunks and a tab"],
    },
    Difference {
        gateway: Verdict::Passes,
        others: NGINX,
        why: "whatever `Host` says, the upstream is told its own name, and nothing is routed by it",
        inputs: &[
            "GET /v1beta/models HTTP/1.1, host: x/y?z",
            "GET /v1beta/models HTTP/1.1, host: x y",
            "GET /v1beta/models HTTP/1.1, host:",
        ],
    },
    Difference {
        gateway: Verdict::Passes,
        others: EITHER,
        why: "of a whole URL only path and query count, whatever authority and scheme it names",
        inputs: &[
            "GET http://elsewhere.test/v1beta/models HTTP/1.1, host: own.test",
            "GET ftp://elsewhere.test/v1beta/models HTTP/1.1, host: own.test",
            "GET https://user:pass@elsewhere.test/v1beta/models HTTP/1.1, host: own.test",
        ],
    },
    Difference {
        gateway: Verdict::Passes,
        others: HAPROXY,
        why: "a fragment is no part of what is asked for, and goes no further",
        inputs: &["/v1beta/models#fragment"],
    },
    Difference {
        gateway: Verdict::Passes,
        others: NGINX,
        why: "methods are told apart by case (RFC 9110 §9.1): it is one that the upstream does not know",
        inputs: &["a method in small letters"],
    },
    // What the gateway refuses.
    Difference {
        gateway: Verdict::Refuses,
        others: HAPROXY,
        why: "HAProxy decides for one of two lengths, or of a length and chunks, and removes the other",
        inputs: &[
            "a length and chunks",
            "chunks and a length",
            "a length twice in one line",
            "a length twice in two lines",
        ],
    },
    Difference {
        gateway: Verdict::Refuses,
        others: HAPROXY,
        why: "HAProxy joins lines that were folded (RFC 9112 §5.2 lets a server do either)",
        inputs: &[
            "a length on a folded line",
            "a length folded into the line before",
            "chunks on a folded line",
            "a line that begins with a space",
        ],
    },
    Difference {
        gateway: Verdict::Refuses,
        others: HAPROXY,
        why: "HAProxy passes an empty coding behind the last comma on",
        inputs: &["chunks before a comma"],
    },
    Difference {
        gateway: Verdict::Refuses,
        others: EITHER,
        why: "they look for less in names and values of headers, which the gateway takes by RFC 9110 §5.5",
        inputs: &[
            "a NUL in a value",
            "a DEL in a value",
            "a control character in a value",
            "a byte of Latin-1 in a name",
            "chunks and a carriage return",
        ],
    },
    Difference {
        gateway: Verdict::Refuses,
        others: EITHER,
        why: "they look for less around chunks, where the gateway insists on both bytes of each line's end",
        inputs: &[
            "a chunk's size and another behind a space",
            "a chunk's extension with a NUL",
            "a chunk's size before a line feed",
            "a chunk before a line feed",
            "a last chunk before a line feed",
            "an end with a line feed",
            "a trailer that is no header",
            "a trailer that ends in a line feed",
        ],
    },
    Difference {
        gateway: Verdict::Refuses,
        others: EITHER,
        why: "they look for less in a request line, which the gateway takes word by word",
        inputs: &[
            "two spaces before the target",
            "two spaces behind the target",
            "a tab before the target",
            "a space behind the version",
            "no version",
            "version 0.9",
            "version 1.2",
            "version 1.10",
            "version 2.0",
            "version 1.0 in chunks",
            "TRACE",
            "OPTIONS * HTTP/1.1, host: elsewhere.test",
            "GET /v1beta/models HTTP/1.1",
        ],
    },
    Difference {
        gateway: Verdict::Refuses,
        others: EITHER,
        why: "they pass bytes on that a URL holds only percent-encoded (RFC 3986 §2)",
        inputs: &[
            "/v1beta/models\\\\gemini",
            "/v1beta/\\\\..\\\\models",
            "/v1beta/models/\\xc3\\xbc",
            "/v1beta/models/\\xff\\xfe",
            "/v1beta/models?q=\\xff",
            "/v1beta/models/a\"b",
            "/v1beta/models/a<b>",
            "/v1beta/models/a^b`{}",
        ],
    },
    Difference {
        gateway: Verdict::Refuses,
        others: EITHER,
        why: "they serve any path, the gateway those alone that it knows and that mean no other",
        inputs: &[
            "/v1beta/models/;/../x",
            "/v1%62eta/models",
            "/%761beta/models",
            "/v1beta/models/%u002e%u002e/x",
            "/v1beta/models/%2",
            "GET //elsewhere.test/v1beta/models HTTP/1.1, host: own.test",
            "a refused POST with a request in it",
            "a refused POST with a request in chunks",
            "a POST with a request in it to the gateway's own",
            "a GET with a request in it to the gateway's own",
        ],
    },
    Difference {
        gateway: Verdict::Refuses,
        others: EITHER,
        why: "they know no credentials",
        inputs: &["a stranger's POST with a request in it"],
    },
];

/// Checks that all that differ are known to, and that what is known is among the inputs.
pub(super) fn check(differences: &[(&str, &str, Verdict)], inputs: &BTreeSet<&str>) {
    let known: Vec<_> = DIFFERENCES.iter().flat_map(|it| it.inputs).collect();
    let unknown: Vec<_> = known.iter().filter(|name| !inputs.contains(**name)).collect();
    assert!(unknown.is_empty(), "no such inputs: {unknown:#?}");
    let is_expected = |(name, other, gateway): &(&str, &str, Verdict)| {
        let is_listed = DIFFERENCES.iter().any(|it| {
            it.gateway == *gateway
                && it.others.contains(other)
                && it.inputs.contains(name)
                && !it.why.is_empty()
        });
        // Each of these is refused by a test of its own.
        is_listed || *gateway == Verdict::Refuses && TARGETS.iter().any(|(target, _)| target == name)
    };
    let unexpected: Vec<_> = differences.iter().filter(|it| !is_expected(it)).collect();
    assert!(unexpected.is_empty(), "what the gateway does here, and the other does not: {unexpected:#?}");
    for name in known.iter().filter(|name| differences.iter().all(|(found, ..)| found != **name)) {
        eprintln!("nobody differs any more in: {name}");
    }
}
