//! TLS to a server of PostgreSQL.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::send::handshake_problem;

/// The setting that names the certificate of a server of the user's own.
const CACERT: &str = "limit.share-cacert (--share-cacert FILE)";

/// Makes handshakes.
#[derive(Clone)]
pub struct Tls(TlsConnector);

/// A handshake with the server of this name.
pub struct Handshake {
    connector: TlsConnector,
    name: String,
}

/// A connection with TLS.
pub struct Stream<S>(client::TlsStream<S>);

impl Tls {
    /// Handshakes by this connector.
    pub fn new(connector: &TlsConnector) -> Tls {
        let mut config = (**connector.config()).clone();
        // A server since version 17 refuses those who speak something else only.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Tls(TlsConnector::from(Arc::new(config)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Stream<S>;
    type TlsConnect = Handshake;
    type Error = String;

    fn make_tls_connect(&mut self, name: &str) -> Result<Handshake, String> {
        Ok(Handshake { connector: self.0.clone(), name: name.to_owned() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Handshake {
    type Stream = Stream<S>;
    type Error = String;
    type Future = Pin<Box<dyn Future<Output = Result<Stream<S>, String>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from(self.name).map_err(|error| error.to_string())?;
            let stream = self.connector.connect(name, stream).await;
            stream.map(Stream).map_err(|error| handshake_problem(&error, CACERT))
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
