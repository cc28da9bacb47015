//! Until when a certificate holds: the one field of X.509 that is needed here, read from its DER (RFC 5280, 4.1). Nothing
//! is verified; a certificate that is built otherwise has no answer.

use chrono::{DateTime, NaiveDateTime};
use rustls::pki_types::CertificateDer;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns the end of a certificate's validity, in seconds of Unix time.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (mut certificate, _) = inside(certificate, SEQUENCE)?;
    let (mut fields, _) = inside(take(&mut certificate)?.1, SEQUENCE)?;
    if take(&mut fields)?.0 == VERSION {
        take(&mut fields)?;
    }
    // That was the serial number; the signature's algorithm and the issuer follow, then both times.
    take(&mut fields)?;
    take(&mut fields)?;
    let (mut validity, _) = inside(take(&mut fields)?.1, SEQUENCE)?;
    take(&mut validity)?;
    let (tag, whole) = take(&mut validity)?;
    let (text, _) = inside(whole, tag)?;
    time(tag, str::from_utf8(text).ok()?)
}

/// Takes the next element off: its tag, and all its bytes.
fn take<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let tag = *rest.first()?;
    let (_, behind) = inside(rest, tag)?;
    let (whole, after) = rest.split_at(rest.len() - behind.len());
    *rest = after;
    Some((tag, whole))
}

/// The content of the element that begins here, if it has this tag, and what follows it.
fn inside(bytes: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    if tag != expected {
        return None;
    }
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (long, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        (
            long.iter()
                .try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?,
            rest,
        )
    };
    rest.split_at_checked(length)
}

fn time(tag: u8, text: &str) -> Option<i64> {
    let text = match tag {
        // Two digits of the year: those below 50 are of this century.
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some(DateTime::<chrono::Utc>::from_naive_utc_and_offset(time, chrono::Utc).timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(year: i32, month: u8, day: u8) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, month, day);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_end_of_validity_is_read_in_both_forms_of_time() {
        for (year, month, day, expected) in [
            (2027, 1, 31, "2027-01-31T00:00:00Z"),
            (2049, 12, 31, "2049-12-31T00:00:00Z"),
            (2050, 1, 1, "2050-01-01T00:00:00Z"),
            (4096, 1, 1, "4096-01-01T00:00:00Z"),
        ] {
            let expected: DateTime<chrono::Utc> = expected.parse().unwrap();
            assert_eq!(of(&made(year, month, day)), Some(expected.timestamp()));
        }
    }

    #[test]
    fn what_is_cut_or_garbled_has_no_answer_and_is_no_panic() {
        let whole = made(2027, 1, 31);
        for length in 0..whole.len() {
            let _ = of(&CertificateDer::from(&whole[..length]));
        }
        for at in 0..whole.len() {
            for byte in [0x00, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] = byte;
                let _ = of(&CertificateDer::from(bytes));
            }
        }
        assert_eq!(of(&CertificateDer::from(&[][..])), None);
        assert_eq!(of(&CertificateDer::from(&b"no certificate"[..])), None);
    }
}
