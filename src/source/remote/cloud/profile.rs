//! The settings of a profile in `~/.aws/credentials` and `~/.aws/config`. Does I/O: these files.

use std::path::{Path, PathBuf};

use object_store::aws::AmazonS3ConfigKey;

/// The keys of a profile that matter here.
const KEYS: [(&str, AmazonS3ConfigKey); 5] = [
    ("aws_access_key_id", AmazonS3ConfigKey::AccessKeyId),
    ("aws_secret_access_key", AmazonS3ConfigKey::SecretAccessKey),
    ("aws_session_token", AmazonS3ConfigKey::Token),
    ("region", AmazonS3ConfigKey::Region),
    ("endpoint_url", AmazonS3ConfigKey::Endpoint),
];

/// The settings of the profile that the environment names, or of `default`. Its credentials
/// are left out where the environment has its own.
pub fn settings(environment: &dyn Fn(&str) -> Option<String>) -> Vec<(AmazonS3ConfigKey, String)> {
    let named = environment("AWS_PROFILE");
    let profile = named.as_deref().unwrap_or("default");
    let home = environment("HOME").map(PathBuf::from).unwrap_or_default();
    let path = |name: &str, file: &str| {
        environment(name).map_or_else(|| home.join(".aws").join(file), PathBuf::from)
    };
    let credentials = path("AWS_SHARED_CREDENTIALS_FILE", "credentials");
    let config = path("AWS_CONFIG_FILE", "config");
    let mut found = section(&credentials, &[profile]);
    found.extend(section(&config, &[&format!("profile {profile}"), profile]));
    let has_own = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"]
        .iter()
        .any(|name| environment(name).is_some());
    let has_region = environment("AWS_DEFAULT_REGION").is_some();
    found.retain(|(key, _)| match key {
        AmazonS3ConfigKey::Region => !has_region,
        AmazonS3ConfigKey::Endpoint => true,
        _ => !has_own,
    });
    found
}

/// The known keys of the first of these sections that a file has.
fn section(path: &Path, names: &[&str]) -> Vec<(AmazonS3ConfigKey, String)> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return Vec::new();
    };
    let mut is_inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            is_inside = names.contains(&name.trim());
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_inside) {
            // A line that is indented belongs to the key before it.
            let known = KEYS.iter().find(|(name, _)| *name == key.trim_end());
            found.extend(known.map(|(_, key)| (*key, value.trim().to_owned())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_credentials_and_a_region() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(home.path().join(".aws").join(name), text).unwrap();
        };
        write(
            "credentials",
            "[default]\naws_access_key_id = A\n[work]\naws_access_key_id=B\naws_secret_access_key = C=\n",
        );
        write(
            "config",
            "[profile work]\nregion = eu-west-1\ns3 =\n  region = no\n[default]\nregion=x\n",
        );
        let of = |names: &[(&str, &str)]| {
            let environment = |name: &str| {
                let given = names.iter().find(|(given, _)| *given == name);
                given
                    .map(|(_, value)| (*value).to_owned())
                    .or_else(|| (name == "HOME").then(|| home.path().display().to_string()))
            };
            let values = settings(&environment).into_iter().map(|(_, value)| value);
            values.collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), ["A", "x"]);
        assert_eq!(of(&[("AWS_PROFILE", "work")]), ["B", "C=", "eu-west-1"]);
        assert_eq!(of(&[("AWS_PROFILE", "work"), ("AWS_ACCESS_KEY_ID", "Z")]), ["eu-west-1"]);
        assert_eq!(of(&[("AWS_DEFAULT_REGION", "y")]), ["A"]);
    }
}
