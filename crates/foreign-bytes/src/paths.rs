//! Request targets: none panics, and what is accepted is normal, stays what it is when it is read again, and has no
//! credential in it.

use gemini::path::{CredentialForm, parse};

const METHODS: [&str; 5] = ["GET", "POST", "PATCH", "DELETE", "BREW"];

/// See the module.
pub fn run(input: &[u8]) {
    let [choice, target @ ..] = input else { return };
    let Ok(target) = std::str::from_utf8(target) else { return };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let method = METHODS[usize::from(*choice) % METHODS.len()];
    for form in [CredentialForm::GoogHeader, CredentialForm::Bearer] {
        let Ok(read) = parse(method, path, query, form) else { continue };
        assert!(read.path.starts_with('/') && !read.path.contains("//"), "{}", read.path);
        assert!(read.path.split('/').all(|segment| segment != "." && segment != ".."), "{}", read.path);
        assert!(read.path.bytes().all(|byte| byte.is_ascii_graphic()), "{}", read.path);
        if let Some(query) = &read.query {
            assert!(!query.is_empty());
            let is_credential = |name: &str| matches!(name, "key" | "$key" | "access_token");
            assert!(
                !query.split('&').any(|pair| is_credential(pair.split('=').next().unwrap_or(""))),
                "{query}"
            );
        }
        let again = parse(method, &read.path, read.query.as_deref(), form).expect("what was accepted");
        assert_eq!((&again.path, &again.query), (&read.path, &read.query));
    }
}
