//! TLS in front of a plain server, for clients that are to speak HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use throng_mock::ServerCertificate;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Serves this server's answers with this certificate; gives its address.
/// It offers HTTP/1.1 only, and ends with the tests.
pub fn http1_only(tls: &ServerCertificate, server: SocketAddr) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (addr, acceptor) = (listener.local_addr().unwrap(), acceptor(tls));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server, acceptor.clone()));
            }
        });
    });
    addr
}

async fn pass_on(client: TcpStream, server: SocketAddr, acceptor: TlsAcceptor) {
    let (Ok(mut client), Ok(mut server)) =
        (acceptor.accept(client).await, TcpStream::connect(server).await)
    else {
        return;
    };
    // Either may go at any time.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

fn acceptor(tls: &ServerCertificate) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(tls.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes()).unwrap();
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
