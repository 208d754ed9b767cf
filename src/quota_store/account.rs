//! The account of a quota: a server, and the credential that identifies us to it.

/// A server and the credentials that are used with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaAccount {
    /// The server: scheme, host and port.
    pub server: String,
    /// A hash of the credential. It stays in this process.
    credential: [u8; 32],
    /// A hash of each key of the pool, with the credential.
    pool: Vec<[u8; 32]>,
    /// The name that the user gave the account.
    pub named: Option<String>,
}

impl QuotaAccount {
    /// The account of these credentials, with one key of the pool at a time.
    #[must_use]
    pub fn new(server: String, credentials: &[String], keys: &[String]) -> QuotaAccount {
        let credential_with = |key: Option<&String>| {
            let mut all: Vec<&String> = credentials.iter().chain(key).collect();
            all.sort();
            all.dedup();
            hash(all.into_iter().map(String::as_bytes))
        };
        QuotaAccount {
            server,
            credential: credential_with(None),
            pool: keys.iter().map(|key| credential_with(Some(key))).collect(),
            named: None,
        }
    }

    /// The account under a name, whatever the server and the credential are.
    #[must_use]
    pub fn named(self, name: Option<&str>) -> QuotaAccount {
        match name {
            Some(name) => QuotaAccount { server: name.into(), named: Some(name.into()), ..self },
            None => self,
        }
    }

    /// A short name of each key of the pool, by which records tell the keys apart: the same
    /// wherever the key stands in the pool and whatever variable it comes from.
    pub fn pool_names(&self, salt: &[u8; 32]) -> Vec<String> {
        let name = |key: &[u8; 32]| blake3::keyed_hash(salt, key).to_hex()[..8].to_owned();
        self.pool.iter().map(name).collect()
    }

    /// The name of a file or directory of this account, with this key of the pool or of a
    /// scope. The machine's salt keeps a credential from being guessed from a name.
    pub fn name(&self, salt: &[u8; 32], parts: &[&str], pool: Option<usize>, key: &str) -> String {
        let credential = pool.and_then(|key| self.pool.get(key)).unwrap_or(&self.credential);
        let parts = parts.iter().map(|part| part.as_bytes());
        let all = [self.server.as_bytes(), credential].into_iter().chain(parts);
        let hash = hash(all.chain([key.as_bytes()]));
        let name = blake3::keyed_hash(salt, &hash).to_hex();
        format!("{}-{}", server_file_name(&self.server), &name[..16])
    }
}

/// One hash of several texts with their lengths.
fn hash<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// A server as part of a file name.
fn server_file_name(server: &str) -> String {
    let host = server.split_once("://").map_or(server, |(_, host)| host);
    let replace = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() || letter == '.' => letter,
        _ => '-',
    };
    host.chars().take(60).map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(account: &QuotaAccount, pool: Option<usize>) -> String {
        account.name(&[7; 32], &["25/1d", "requests"], pool, "")
    }

    fn account(credentials: &[&str], keys: &[&str]) -> QuotaAccount {
        let own = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        QuotaAccount::new("https://api.example:8443".into(), &own(credentials), &own(keys))
    }

    #[test]
    fn another_credential_is_another_account_and_no_name_shows_it() {
        let one = account(&["secret-1"], &[]);
        let other = account(&["secret-2"], &[]);
        let name = file(&one, None);
        assert_ne!(name, file(&other, None));
        assert!(name.starts_with("api.example-8443-"), "{name}");
        assert!(!format!("{one:?}{name}").contains("secret-1"));
        assert_ne!(name, one.name(&[8; 32], &["25/1d", "requests"], None, ""));
    }

    #[test]
    fn a_key_has_the_same_account_in_a_pool_and_alone() {
        let alone = account(&["a"], &[]);
        let pool = account(&[], &["b", "a"]);
        assert_eq!(file(&alone, None), file(&pool, Some(1)));
        assert_ne!(file(&pool, Some(0)), file(&pool, Some(1)));
        let (names, others) =
            (pool.pool_names(&[7; 32]), account(&[], &["a"]).pool_names(&[7; 32]));
        assert_eq!(names[1..], others);
        assert_ne!(names[0], names[1]);
        assert_ne!(names, pool.pool_names(&[8; 32]));
    }

    #[test]
    fn a_key_of_a_named_pool_is_the_same_wherever_it_stands_and_whatever_the_host_is() {
        let pool = |server: &str, keys: [&str; 2]| {
            let keys = keys.map(str::to_owned);
            QuotaAccount::new(server.into(), &[], &keys).named(Some("mine"))
        };
        let (one, other) = (pool("https://a", ["a", "b"]), pool("https://b", ["b", "a"]));
        assert_eq!(file(&one, Some(0)), file(&other, Some(1)));
        assert_ne!(file(&one, Some(0)), file(&other, Some(0)));
    }
}
