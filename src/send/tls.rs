//! TLS: which servers are trusted, and what is spoken with them. [door: files]

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;

use super::{Landed, causes};

/// TLS with the platform's roots, or those that `SSL_CERT_FILE` names.
pub fn connector() -> Result<TlsConnector, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map(causes_of).unwrap_or_default();
        return Err(format!(
            "no root certificates were found (on Debian: apt install ca-certificates){why}"
        ));
    }
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn causes_of(error: &rustls_native_certs::Error) -> String {
    format!(": {}", causes(error))
}

/// Whether the server chose HTTP/2.
pub fn speaks_http2<T>(stream: &TlsStream<T>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// A certificate that is not trusted won't be at the next attempt either.
pub fn after_handshake(error: &std::io::Error) -> Landed {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => Landed::Final,
        _ => Landed::No,
    }
}
