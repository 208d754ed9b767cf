//! TLS: trusted servers, the client certificate, and the versions.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage,
    PeerIncompatible, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificates::Verifier;
use super::http2;
use super::route::Origin;
use super::settings::{Http, Tls, Version};
use super::{Delivery, causes};
use crate::error::Error;
use crate::wording::worded;

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
                let pair = (certificates("tls.cert (--cert)", cert)?, private_key(key)?);
                check_pair(&pair.0, &pair.1).map_err(|why| {
                    let (cert, key) = (cert.display(), key.display());
                    Error::plan(format!(
                        "tls.cert (--cert) {cert} and tls.key (--cert-key) {key}: {why}"
                    ))
                })?;
                Some(pair)
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
            let roots = Arc::new(self.roots()?);
            let provider = builder.crypto_provider().clone();
            let by_roots = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| error.to_string())?;
            let own = self.roots.clone().unwrap_or_default();
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Verifier::new(by_roots, own)))
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

/// The connector to a server of the user's own, which is trusted by this certificate, or by the
/// platform's.
///
/// # Errors
/// The file can't be used, or there are no certificates.
pub(crate) fn tls_connector(cacert: Option<&Path>) -> Result<TlsConnector, Error> {
    let settings = Tls { ca_cert: cacert.map(Path::to_owned), ..Tls::default() };
    Trust::new(&settings, Http::One)?.connector().map_err(Error::plan)
}

/// The connector to a server that is taken for what it says, whatever its certificate is.
///
/// # Errors
/// TLS can't be set up.
pub(crate) fn any_certificate() -> Result<TlsConnector, Error> {
    let settings = Tls { insecure: true, ..Tls::default() };
    Trust::new(&settings, Http::One)?.connector().map_err(Error::plan)
}

/// The acceptor of a server with a certificate in this file and its key in that one.
///
/// # Errors
/// A file can't be used, or the key is another's.
pub(crate) fn tls_acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, Error> {
    let chain = certificates("--tls-cert", cert)?;
    let wrong =
        |why: &dyn std::fmt::Display| Error::plan(format!("--tls-key {}: {why}", key.display()));
    let pem = std::fs::read(key).map_err(|error| wrong(&error))?;
    let own = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        wrong(&format!("there is no private key in it (PEM, without a password): {error}"))
    })?;
    check_pair(&chain, &own).map_err(|why| wrong(&why))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, own)
        .map_err(|error| wrong(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Checks that a private key belongs to the first certificate of a chain.
fn check_pair(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), String> {
    let checked =
        CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &ring::default_provider());
    match checked {
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("the key does not belong to the certificate".to_owned())
        }
        Err(error) => Err(error.to_string()),
        Ok(_) => Ok(()),
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

impl Trust {
    /// Why a handshake failed, and what to do.
    pub fn explain(&self, origin: &Origin, error: &std::io::Error) -> String {
        let server = format!("{}:{}", origin.host, origin.port);
        let why = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match why {
            Some(rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            )) => format!("{server} does not speak TLS: is it http://{server}?"),
            Some(rustls::Error::InvalidCertificate(CertificateError::Other(why))) => {
                format!("{server}: {}", why.0)
            }
            Some(
                rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
                | rustls::Error::PeerIncompatible(
                    PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
                ),
            ) => format!("{server} speaks only a TLS older than {}", self.oldest()),
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                self.wrong_http(&server)
            }
            _ => format!("{server}: {}", causes(error)),
        }
    }

    /// The oldest version of TLS that may be spoken, and what to do about it.
    fn oldest(&self) -> &'static str {
        if self.versions.contains(&&TLS12) {
            "1.2, which is not safe, and which throng does not speak"
        } else {
            "1.3, which tls.min-version (--tls-min) asks for: 1.2 allows it"
        }
    }

    /// The error of a server that does not offer the version of HTTP that the job asks for.
    pub fn wrong_http(&self, server: &str) -> String {
        worded(match self.http {
            Http::Two => format!(
                "{server} does not speak HTTP/2, which network.http (--http) asks for: --http 1.1 does without"
            ),
            _ => format!(
                "{server} offers none of the versions of HTTP that network.http (--http) allows: try another one"
            ),
        })
    }

    /// Whether a connection of this version of HTTP is one that the job allows.
    pub fn allows_http1(&self) -> bool {
        self.http != Http::Two
    }
}

/// Why a handshake with a server of the user's own failed, where this setting names the
/// certificate that it is trusted by.
pub(crate) fn handshake_problem(error: &std::io::Error, cacert: &str) -> String {
    let why = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match why {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(why))) => {
            why.0.to_string().replace("tls.ca-cert (--cacert FILE)", cacert)
        }
        _ => causes(error),
    }
}

/// Whether a handshake failed although the server speaks TLS.
pub fn is_of_tls(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        inner,
        Some(
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::PeerIncompatible(_)
                | rustls::Error::AlertReceived(_)
        )
    )
}

/// The delivery of a failed handshake: an untrusted certificate stays untrusted.
pub fn after_handshake(error: &std::io::Error) -> Delivery {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(
            rustls::Error::InvalidCertificate(_)
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            )
            | rustls::Error::AlertReceived(_),
        ) => Delivery::Final,
        _ => Delivery::NotSent,
    }
}
