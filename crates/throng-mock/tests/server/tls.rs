//! TLS and HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use throng_mock::{Mock, ServerCertificate, ServerLimit, Settings};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::{Connection, QUOTE, read, run, start};

#[test]
fn http2_over_tls_carries_concurrent_requests() {
    let tls = ServerCertificate::self_signed(["localhost"]).unwrap();
    let mock = start(Settings {
        tls: Some(tls.clone()),
        limits: vec!["10/1h".parse::<ServerLimit>().unwrap()],
        ..Settings::default()
    });
    assert!(mock.url().starts_with("https://127.0.0.1:"));
    run(async {
        let stream = tls_stream(&mock, &tls, b"h2").await;
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let sent = (0..20).map(|_| {
            let mut sender = sender.clone();
            let request = Request::get(format!("https://localhost{QUOTE}A"));
            let request = request.body(Full::<Bytes>::default()).unwrap();
            tokio::spawn(async move { sender.send_request(request).await.unwrap() })
        });
        let mut statuses = Vec::new();
        for send in sent.collect::<Vec<_>>() {
            let response = send.await.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            statuses.push(read(response).await.status);
        }
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10);
    });
    assert_eq!(mock.judgement().refused, 10);
}

#[test]
fn with_http2_a_drop_ends_the_stream_only() {
    let mock = start(Settings::default());
    run(async {
        let stream = TcpStream::connect(mock.addr()).await.unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        for (path, answered) in [("/drop", false), ("/echo", true)] {
            let request = Request::get(format!("http://localhost{path}"));
            let request = request.body(Full::<Bytes>::default()).unwrap();
            assert_eq!(sender.send_request(request).await.is_ok(), answered);
        }
    });
}

#[test]
fn http1_over_tls_is_served() {
    let tls = ServerCertificate::self_signed(["localhost"]).unwrap();
    let mock = start(Settings { tls: Some(tls.clone()), ..Settings::default() });
    run(async {
        let stream = tls_stream(&mock, &tls, b"http/1.1").await;
        let answer = Connection::over(stream).await.get("/echo").await.unwrap();
        assert_eq!(answer.status, 200);
    });
}

async fn tls_stream(
    mock: &Mock,
    tls: &ServerCertificate,
    protocol: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(tls.certificate.as_bytes());
    roots.add(certificate.unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(mock.addr()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    stream
}
