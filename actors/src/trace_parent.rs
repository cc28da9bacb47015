//! What a client's `traceparent` header says (W3C Trace Context, level 1): the trace that its request belongs to, and the
//! span in it that is the request's parent. Read where a transaction is begun, used by the exporter of traces only.

use http::HeaderMap;

/// A client's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace that the client's request belongs to.
    pub trace_id: u128,
    /// The client's span, the parent of ours.
    pub span_id: u64,
    /// Whether the client keeps this trace.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads it from a request's headers; what is not well-formed counts as not there, as the standard has it.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get("traceparent")?.to_str().ok()?)
    }

    /// Reads a header's text: `00-<32 digits>-<16 digits>-<2 digits>`. A later version may add more behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let mut hex = |digits: usize| {
            let part = parts.next()?;
            let is_hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            (part.len() == digits && is_hex).then_some(part)
        };
        let version = hex(2)?;
        let trace_id = u128::from_str_radix(hex(32)?, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(hex(16)?, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(hex(2)?, 16).ok()?;
        let ends = parts.next().is_none();
        (version != "ff" && (ends || version != "00")).then_some(Self {
            trace_id,
            span_id,
            is_sampled: flags & 1 == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_header_is_read_and_any_other_is_not_there() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = TraceParent::parse(good).unwrap();
        assert_eq!(parent.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((parent.span_id, parent.is_sampled), (0xb7ad_6b71_6920_3331, true));
        assert!(!TraceParent::parse(&good.replace("-01", "-00")).unwrap().is_sampled);
        assert!(TraceParent::parse(&good.replacen("00", "cc", 1)).is_some(), "a version yet to come");
        assert!(TraceParent::parse(&(good.replacen("00", "cc", 1) + "-more")).is_some());
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &good[..54],
            &(good.to_owned() + "-more"),
            &good.replacen("00", "ff", 1),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-001",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad:?}");
        }
    }
}
