//! Digests and keyed digests. Pure.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac};
use serde::Deserialize;

/// The encoding of bytes as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Two lowercase hexadecimal digits a byte.
    #[default]
    Hex,
    /// With `+`, `/` and padding.
    Base64,
}

/// A hash function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    /// 20 bytes, for older APIs.
    Sha1,
    /// 32 bytes, the default.
    #[default]
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl Encoding {
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Hex => hex(bytes),
            Encoding::Base64 => BASE64_STANDARD.encode(bytes),
        }
    }

    /// The bytes of an encoded text.
    pub fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Encoding::Base64 => BASE64_STANDARD.decode(text).ok(),
            Encoding::Hex => {
                let digits = text.as_bytes().chunks(2);
                let byte =
                    |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
                text.len().is_multiple_of(2).then(|| digits.map(byte).collect())?
            }
        }
    }
}

impl Hash {
    /// The keyed digest of a message.
    pub fn sign(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha384 => hmac::HMAC_SHA384,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
    }

    /// The digest of a message, in hexadecimal digits.
    pub fn hex(self, message: &[u8]) -> String {
        let algorithm = match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        };
        hex(digest::digest(algorithm, message).as_ref())
    }
}

/// Two lowercase hexadecimal digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests_are_computed() {
        // RFC 4231, test case 2.
        let signed = Hash::Sha256.sign(b"Jefe", b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&signed), expected);
        assert_eq!(Encoding::Hex.decode(expected), Some(signed));
        assert_eq!(Encoding::Hex.decode("5bd"), None);
        assert_eq!(Hash::Sha1.hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
