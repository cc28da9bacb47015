//! What a write may be asked in the query. Each path names its parameters in the route table, and `table` refuses all others
//! before a handler is reached: who has misspelt a preview must not have it carried out.

use actix_web::web::Query;

/// Has a write only tell what would become of it.
pub(super) const DRY_RUN: &str = "dry_run";

/// Returns what is wrong with the query of a write that knows these parameters. It repeats nothing of the query, which may
/// hold a secret.
pub(super) fn refusal(known: &[&str], query: &str) -> Option<String> {
    let pairs = Query::<Vec<(String, String)>>::from_query(query).map(Query::into_inner);
    let is_good = pairs.is_ok_and(|pairs| {
        let is_first = |at: usize, name: &str| pairs[..at].iter().all(|(other, _)| other != name);
        pairs.iter().enumerate().all(|(at, (name, _))| known.contains(&name.as_str()) && is_first(at, name))
    });
    (!is_good).then(|| match known {
        [] => "this takes no parameters in the query; nothing was changed".to_owned(),
        known => format!("the query takes {} alone, at most once; nothing was changed", known.join(", ")),
    })
}

/// Returns whether the query asks for a preview.
pub(super) fn is_dry_run(query: &str) -> Result<bool, &'static str> {
    let pairs = Query::<Vec<(String, String)>>::from_query(query).map(Query::into_inner).unwrap_or_default();
    let asked = pairs.iter().find(|(name, _)| name == DRY_RUN).map(|(_, value)| value.as_str());
    match asked {
        None | Some("0" | "false") => Ok(false),
        Some("" | "1" | "true") => Ok(true),
        Some(_) => Err("dry_run is 1 or 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_asked_what_it_knows_and_nothing_else() {
        for (known, query, is_good) in [
            (&[][..], "", true),
            (&[], "dry_run=1", false),
            (&[DRY_RUN], "dry_run=1", true),
            (&[DRY_RUN], "dry_run", true),
            (&[DRY_RUN], "dryrun=1", false),
            (&[DRY_RUN], "dry_run=1&x", false),
            (&[DRY_RUN], "dry_run=0&dry_run=1", false),
        ] {
            assert_eq!(refusal(known, query).is_none(), is_good, "{query}");
        }
        assert!(!refusal(&[], "AIzaSecret=1").unwrap().contains("AIza"));
    }

    #[test]
    fn a_preview_is_asked_for_by_one_or_true() {
        for query in ["dry_run", "dry_run=", "dry_run=1", "dry_run=true"] {
            assert_eq!(is_dry_run(query), Ok(true), "{query}");
        }
        for query in ["", "dry_run=0", "dry_run=false"] {
            assert_eq!(is_dry_run(query), Ok(false), "{query}");
        }
        assert!(is_dry_run("dry_run=perhaps").is_err());
    }
}
