//! The check of a server's certificate, with what its error needs: the name of an issuer that
//! is not trusted. A certificate that the job trusts itself, such as a self-signed one, is
//! accepted for its names and its time.

use std::fmt;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, OtherError, SignatureScheme,
};

/// Checks certificates by trusted roots.
#[derive(Debug)]
pub struct Verifier {
    by_roots: Arc<WebPkiServerVerifier>,
    /// The certificates that the job itself trusts.
    own: Vec<CertificateDer<'static>>,
}

/// The error of a certificate whose issuer is not trusted.
#[derive(Debug)]
struct UnknownIssuer {
    /// The name of the issuer, as far as the certificate tells.
    issuer: Option<String>,
    is_self_signed: bool,
}

impl Verifier {
    /// Checks by these roots, of which the job names some itself.
    pub fn new(by_roots: Arc<WebPkiServerVerifier>, own: Vec<CertificateDer<'static>>) -> Verifier {
        Verifier { by_roots, own }
    }

    /// Whether a certificate is good of which the job has said that it is to be trusted.
    fn check_own(
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        let [from, to] = Certificate::read(certificate)
            .and_then(|it| it.validity())
            .ok_or(CertificateError::BadEncoding)?;
        if now.as_secs() < from {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > to {
            return Err(CertificateError::Expired.into());
        }
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked = self.by_roots.verify_server_cert(certificate, chain, name, ocsp, now);
        let is_own = || self.own.iter().any(|own| own == certificate);
        match checked {
            Ok(verified) => Ok(verified),
            Err(rustls::Error::InvalidCertificate(_)) if is_own() => {
                Verifier::check_own(certificate, name, now)
            }
            Err(rustls::Error::InvalidCertificate(
                why @ (CertificateError::UnknownIssuer | CertificateError::Other(_)),
            )) => {
                let last = chain.last().unwrap_or(certificate);
                let unknown = UnknownIssuer::of(last, chain.is_empty());
                // One that may sign others is no server's, unless it is trusted itself.
                let why = if unknown.is_self_signed || why == CertificateError::UnknownIssuer {
                    CertificateError::Other(OtherError(Arc::new(unknown)))
                } else {
                    why
                };
                Err(why.into())
            }
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_roots.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_roots.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_roots.supported_verify_schemes()
    }
}

impl UnknownIssuer {
    fn of(certificate: &CertificateDer<'_>, is_alone: bool) -> UnknownIssuer {
        let read = Certificate::read(certificate);
        UnknownIssuer {
            issuer: read.as_ref().and_then(|it| common_name(it.issuer)),
            is_self_signed: is_alone && read.is_some_and(|it| it.issuer == it.subject),
        }
    }
}

impl fmt::Display for UnknownIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuer = self.issuer.as_deref().unwrap_or("an issuer without a name");
        if self.is_self_signed {
            write!(
                f,
                "the certificate is self-signed ({issuer:?}) and not trusted here: trust it with tls.ca-cert (--cacert FILE)"
            )
        } else {
            write!(
                f,
                "the certificate is issued by {issuer:?}, which is not trusted here: give the certificate of that issuer with tls.ca-cert (--cacert FILE)"
            )
        }
    }
}

impl std::error::Error for UnknownIssuer {}

/// The parts of a certificate (RFC 5280, 4.1) that are read here.
struct Certificate<'a> {
    issuer: &'a [u8],
    validity: &'a [u8],
    subject: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;

/// The types of names that say most, the best one first: the common name, the organization.
const NAMES: [&[u8]; 2] = [&[0x55, 0x04, 0x03], &[0x55, 0x04, 0x0a]];

impl<'a> Certificate<'a> {
    fn read(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut parts = Der(Der(Der(der).next_of(SEQUENCE)?).next_of(SEQUENCE)?);
        // The version is left out by the oldest certificates.
        let (tag, _) = parts.next()?;
        if tag == VERSION {
            parts.next()?;
        }
        parts.next_of(SEQUENCE)?;
        Some(Certificate {
            issuer: parts.next_of(SEQUENCE)?,
            validity: parts.next_of(SEQUENCE)?,
            subject: parts.next_of(SEQUENCE)?,
        })
    }

    /// The first and the last second since 1970 at which it is valid.
    fn validity(&self) -> Option<[u64; 2]> {
        let mut times = Der(self.validity);
        Some([seconds(times.next()?)?, seconds(times.next()?)?])
    }
}

/// The seconds since 1970 of a time, `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn seconds((tag, text): (u8, &[u8])) -> Option<u64> {
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let century = match text.get(..2)?.parse::<u8>().ok()? {
        _ if tag != UTC_TIME => "",
        50.. => "19",
        _ => "20",
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", format!("{century}{text}")).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?;
    Some(u64::try_from(time.timestamp().as_second()).unwrap_or(0))
}

/// The name that a distinguished name is best known by.
fn common_name(name: &[u8]) -> Option<String> {
    NAMES.iter().find_map(|wanted| {
        let mut sets = Der(name);
        while let Some(set) = sets.next_of(SET) {
            let mut pair = Der(Der(set).next_of(SEQUENCE)?);
            if pair.next_of(OBJECT_ID)? == *wanted {
                return Some(String::from_utf8_lossy(pair.next()?.1).into_owned());
            }
        }
        None
    })
}

/// Values of DER, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The tag and the contents of the next value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..0x80 => (usize::from(first), rest),
            _ => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().try_fold(0_usize, |sum, byte| {
                    sum.checked_mul(256)?.checked_add(usize::from(*byte))
                });
                (length?, rest)
            }
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }

    /// The contents of the next value, if it has this tag.
    fn next_of(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, contents)| contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names_are_read() {
        assert_eq!(seconds((UTC_TIME, b"700101000001Z")), Some(1));
        assert_eq!(seconds((0x18, b"20380119031407Z")), Some(2_147_483_647));
        assert_eq!(seconds((UTC_TIME, b"700101000001")), None);
        let name = [
            0x31, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x04, 0x0a, 0x0c, 0x03, b'O', b'r', b'g',
            0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x02, b'C', b'A',
        ];
        assert_eq!(common_name(&name), Some("CA".into()));
        assert_eq!(common_name(&name[..14]), Some("Org".into()));
        for end in 0..name.len() {
            common_name(&name[..end]);
            assert!(Certificate::read(&name[..end]).is_none());
        }
    }
}
