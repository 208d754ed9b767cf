//! The server's certificate.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate and its key, with which a mock serves HTTPS: HTTP/2 to clients
/// that offer it, else HTTP/1.1.
#[derive(Clone)]
pub struct ServerCertificate {
    /// The chain in PEM, the server's own certificate first.
    pub certificate: String,
    /// The private key in PEM.
    pub key: String,
}

impl ServerCertificate {
    /// A new self-signed certificate for these names or IP addresses. A client
    /// trusts it if it is given the `certificate`.
    pub fn self_signed<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
    ) -> io::Result<ServerCertificate> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let made = rcgen::generate_simple_self_signed(names).map_err(invalid)?;
        Ok(ServerCertificate {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        })
    }

    /// A new self-signed certificate that may sign others, as `openssl req -x509` makes it.
    ///
    /// # Errors
    /// A name is not one of a host.
    pub fn self_signed_authority<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
    ) -> io::Result<ServerCertificate> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let mut params = rcgen::CertificateParams::new(names).map_err(invalid)?;
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().map_err(invalid)?;
        let certificate = params.self_signed(&key).map_err(invalid)?;
        Ok(ServerCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A new certificate that an authority with this name has signed.
    ///
    /// # Errors
    /// A name is not one of a host.
    pub fn issued<N: Into<String>>(
        issuer: &str,
        names: impl IntoIterator<Item = N>,
    ) -> io::Result<ServerCertificate> {
        let mut authority = rcgen::CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.distinguished_name = rcgen::DistinguishedName::new();
        authority.distinguished_name.push(rcgen::DnType::CommonName, issuer);
        let issuer = rcgen::Issuer::new(authority, rcgen::KeyPair::generate().map_err(invalid)?);
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let params = rcgen::CertificateParams::new(names).map_err(invalid)?;
        let key = rcgen::KeyPair::generate().map_err(invalid)?;
        let certificate = params.signed_by(&key, &issuer).map_err(invalid)?;
        Ok(ServerCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The acceptor of TLS connections.
    pub(crate) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(invalid)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(invalid)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Leaves the key out.
impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_certificate_is_usable() {
        let tls = ServerCertificate::self_signed(["localhost", "127.0.0.1"]).unwrap();
        assert!(tls.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        tls.acceptor().unwrap();
    }

    #[test]
    fn an_invalid_certificate_is_an_error() {
        let tls = ServerCertificate { certificate: String::new(), key: "secret".to_owned() };
        let error = tls.acceptor().err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(!format!("{tls:?}").contains("secret"));
    }
}
