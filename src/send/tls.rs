//! TLS: trusted servers, the client certificate, and the versions.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use super::http2;
use super::settings::{Http, Tls, Version};
use super::{Delivery, causes};
use crate::error::Error;

/// The TLS settings of a job, with their files read.
#[derive(Default)]
pub struct Trust {
    roots: Option<Vec<CertificateDer<'static>>>,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    versions: Vec<&'static SupportedProtocolVersion>,
    insecure: bool,
    http: Http,
}

impl Trust {
    /// Reads the files that the settings name.
    pub fn new(settings: &Tls, http: Http) -> Result<Trust, Error> {
        let own = match (&settings.cert, &settings.key) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(Error::plan("tls.key (--cert-key) is given without tls.cert (--cert)"));
            }
            (Some(cert), key) => {
                let key = key.as_ref().unwrap_or(cert);
                Some((certificates("tls.cert (--cert)", cert)?, private_key(key)?))
            }
        };
        let roots = settings.ca_cert.as_deref();
        Ok(Trust {
            roots: roots.map(|path| certificates("tls.ca-cert (--cacert)", path)).transpose()?,
            own,
            versions: match settings.min_version {
                Version::V12 => vec![&TLS13, &TLS12],
                Version::V13 => vec![&TLS13],
            },
            insecure: settings.insecure,
            http,
        })
    }

    /// Whether certificates are left unchecked.
    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// The connector for handshakes. Without roots of the job it reads the platform's,
    /// or those in `SSL_CERT_FILE`.
    pub fn connector(&self) -> Result<TlsConnector, String> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .map_err(|error| error.to_string())?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(algorithms)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| format!("tls.cert and tls.key (--cert, --cert-key): {error}"))?,
        };
        config.alpn_protocols = match self.http {
            Http::Auto if http2::MISSING.is_none() => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Http::One | Http::Auto => vec![b"http/1.1".to_vec()],
            Http::Two => vec![b"h2".to_vec()],
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        if let Some(own) = &self.roots {
            let (added, _) = roots.add_parsable_certificates(own.iter().cloned());
            return match added {
                0 => Err("none of the certificates in tls.ca-cert (--cacert) can be used".into()),
                _ => Ok(roots),
            };
        }
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found.errors.first().map(|error| format!(": {}", causes(error)));
            let why = why.unwrap_or_default();
            return Err(format!(
                "no root certificates were found (on Debian: apt install ca-certificates){why}"
            ));
        }
        Ok(roots)
    }
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |why: String| Error::plan(format!("{key}: {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong("there is no certificate in it (PEM)".into())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let wrong =
        |why: String| Error::plan(format!("tls.key (--cert-key): {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        wrong(format!("there is no private key in it (PEM, without a password): {error}"))
    })
}

/// Accepts every certificate, for `--insecure`. Signatures are still checked, since no
/// connection to a server that can't sign is possible anyway.
#[derive(Debug)]
struct Unchecked(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Whether the server chose HTTP/2.
pub fn speaks_http2<T>(stream: &TlsStream<T>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// The delivery of a failed handshake: an untrusted certificate stays untrusted.
pub fn after_handshake(error: &std::io::Error) -> Delivery {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(
            rustls::Error::InvalidCertificate(_)
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(_),
        ) => Delivery::Final,
        _ => Delivery::NotSent,
    }
}
