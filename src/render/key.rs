//! Names that keys and passwords go by. Pure.

/// Whether what is called this is probably a secret.
#[must_use]
pub fn looks_like_key(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let ends = ["key", "token", "secret", "password", "passwd", "signature"];
    let whole = [
        "authorization",
        "proxyauthorization",
        "cookie",
        "auth",
        "apikey",
        "sig",
    ];
    whole.contains(&name.as_str()) || ends.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_their_names() {
        for name in [
            "Authorization",
            "x-api-key",
            "X-Auth-Token",
            "client_secret",
            "Cookie",
        ] {
            assert!(looks_like_key(name), "{name}");
        }
        for name in ["accept", "x-request-id", "keyword", "page_tokens"] {
            assert!(!looks_like_key(name), "{name}");
        }
    }
}
