//! A signed assertion: a JSON Web Token that proves who asks for a token (RFC 7523).

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::hash::{Hash, hex};
use crate::render::StaticValue;

/// The algorithm of an assertion's signature (RFC 7518).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Algorithm {
    /// RSA with SHA-256, the default.
    #[default]
    RS256,
    /// The elliptic curve P-256 with SHA-256.
    ES256,
    /// A shared key, with HMAC and SHA-256.
    HS256,
}

/// The settings of an assertion.
pub struct Assertion {
    /// The private key as PEM, or the shared key of `HS256`.
    pub key: StaticValue,
    pub algorithm: Algorithm,
    /// The name by which the server knows the key.
    pub key_id: Option<StaticValue>,
    /// The claims that are texts, by name: `iss`, `sub`, `aud` and further ones.
    pub claims: Vec<(String, StaticValue)>,
    /// The time for which the assertion holds.
    pub lifetime: Duration,
}

/// A key that signs.
enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Shared(Vec<u8>),
}

impl Assertion {
    /// The assertion as it is sent, at this time.
    ///
    /// # Errors
    /// Why the key can't be used.
    pub fn sign(&self, now: SystemTime) -> Result<String, String> {
        let issued = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let mut header = Map::new();
        header.insert("alg".to_owned(), format!("{:?}", self.algorithm).into());
        header.insert("typ".to_owned(), "JWT".into());
        if let Some(id) = &self.key_id {
            header.insert("kid".to_owned(), id.get()?.expose().into());
        }
        let mut claims = Map::new();
        for (name, value) in &self.claims {
            claims.insert(name.clone(), value.get()?.expose().into());
        }
        claims.insert("iat".to_owned(), issued.as_secs().into());
        claims.insert("exp".to_owned(), (issued + self.lifetime).as_secs().into());
        claims.insert("jti".to_owned(), hex(&rand::random::<[u8; 16]>()).into());
        let encode = |part: Map<String, Value>| {
            BASE64_URL_SAFE_NO_PAD.encode(Value::Object(part).to_string())
        };
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signing_key()?.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    fn signing_key(&self) -> Result<SigningKey, String> {
        let text = self.key.get()?;
        if self.algorithm == Algorithm::HS256 {
            return Ok(SigningKey::Shared(text.expose().as_bytes().to_vec()));
        }
        // A variable of the environment often has the line breaks of its PEM as `\n`.
        let pem = text.expose().replace("\\n", "\n");
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
        let key = key.map_err(|_| {
            "auth.private-key (--auth) is no key in PEM (-----BEGIN PRIVATE KEY-----): read it by {{ secret.NAME }}, with secrets.NAME = \"file:key.pem\""
        })?;
        match (self.algorithm, &key) {
            (Algorithm::RS256, PrivateKeyDer::Pkcs8(key)) => {
                RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).map(of_rsa).map_err(rejected)
            }
            (Algorithm::RS256, PrivateKeyDer::Pkcs1(key)) => {
                RsaKeyPair::from_der(key.secret_pkcs1_der()).map(of_rsa).map_err(rejected)
            }
            (Algorithm::ES256, PrivateKeyDer::Pkcs8(key)) => {
                let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let key = EcdsaKeyPair::from_pkcs8(curve, key.secret_pkcs8_der(), &SystemRandom::new());
                key.map(|key| SigningKey::Ecdsa(Box::new(key))).map_err(rejected)
            }
            (Algorithm::ES256, PrivateKeyDer::Sec1(_)) => Err("auth.private-key (--auth) is an EC PRIVATE KEY: convert it by `openssl pkcs8 -topk8 -nocrypt`".to_owned()),
            (algorithm, _) => Err(rejected(format!("it is no key for {algorithm:?}"))),
        }
    }
}

fn of_rsa(key: RsaKeyPair) -> SigningKey {
    SigningKey::Rsa(Box::new(key))
}

fn rejected(why: impl std::fmt::Display) -> String {
    format!(
        "auth.private-key (--auth) can't be used: {why}; auth.algorithm is RS256 (the default, RSA of 2048 bits or more), ES256 (P-256) or HS256"
    )
}

impl SigningKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let failed = |_| "auth.private-key (--auth) can't sign".to_owned();
        match self {
            SigningKey::Shared(key) => Ok(Hash::Sha256.sign(key, message)),
            SigningKey::Ecdsa(key) => {
                let signed = key.sign(&SystemRandom::new(), message).map_err(failed)?;
                Ok(signed.as_ref().to_vec())
            }
            SigningKey::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}
