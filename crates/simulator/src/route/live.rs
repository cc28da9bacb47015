//! The Live API's paths.

/// Which of the service's streaming methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiveMethod {
    Content,
    /// For ephemeral tokens.
    Constrained,
    Music,
}

impl LiveMethod {
    /// Version and method, if the path is one of the Live API's. Google's front end folds the slashes before `ws`.
    pub(crate) fn of(path: &str) -> Option<(String, Self)> {
        let rest = path.trim_start_matches('/').strip_prefix("ws/google.ai.generativelanguage.")?;
        let (version, method) = rest.split_once(".GenerativeService.")?;
        let method = match method {
            "BidiGenerateContent" => Self::Content,
            "BidiGenerateContentConstrained" => Self::Constrained,
            "BidiGenerateMusic" => Self::Music,
            _ => return None,
        };
        matches!(version, "v1" | "v1beta" | "v1alpha").then(|| (version.to_owned(), method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_has_three_methods_under_one_slash_or_two() {
        let path =
            |method: &str| format!("/ws/google.ai.generativelanguage.v1beta.GenerativeService.{method}");
        let cases = [
            (path("BidiGenerateContent"), Some(LiveMethod::Content)),
            (format!("/{}", path("BidiGenerateContentConstrained")), Some(LiveMethod::Constrained)),
            (path("BidiGenerateMusic"), Some(LiveMethod::Music)),
            (path("BidiDream"), None),
            ("/ws/google.ai.generativelanguage.v9.GenerativeService.BidiGenerateContent".to_owned(), None),
            ("/v1beta/models".to_owned(), None),
        ];
        for (path, expected) in cases {
            assert_eq!(LiveMethod::of(&path).map(|(_, method)| method), expected, "{path}");
        }
    }
}
