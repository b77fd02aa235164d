//! `sslmode` and what belongs to it, as rustls understands it, with one explicit provider.

use super::options::{TlsOptions, Verify};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Makes TLS connections, and knows whether it ever did: with `prefer`, the server decides.
#[derive(Clone)]
pub(super) struct Tls {
    inner: MakeRustlsConnect,
    used: Arc<AtomicBool>,
}

impl Tls {
    /// Reads the certificates named in the options. The text of an error names files, not their contents.
    pub(super) fn new(options: &TlsOptions) -> Result<Tls, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier(options, provider)?);
        let config = match &options.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let failed = |error: rustls::pki_types::pem::Error| format!("cannot read {}: {error}", key.display());
                let key = PrivateKeyDer::from_pem_file(key).map_err(failed)?;
                builder.with_client_auth_cert(certificates(certificate)?, key).map_err(|error| error.to_string())?
            }
        };
        Ok(Tls { inner: MakeRustlsConnect::new(config), used: Arc::default() })
    }

    /// Whether a connection was made with TLS.
    pub(super) fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }
}

fn verifier(options: &TlsOptions, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if options.verify == Verify::Nothing {
        return Ok(Arc::new(Lenient { trusted: None, provider }));
    }
    let path = options.root.as_deref().ok_or("sslmode verifies certificates, and sslrootcert names no authority")?;
    let mut roots = RootCertStore::empty();
    if path == Path::new("system") {
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
    } else {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    if roots.is_empty() {
        return Err(format!("sslrootcert {} holds no certificate", path.display()));
    }
    let whole = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    let lenient = |whole| Arc::new(Lenient { trusted: Some(whole), provider });
    Ok(if options.verify == Verify::Name { whole } else { lenient(whole) })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: rustls::pki_types::pem::Error| format!("cannot read {}: {error}", path.display());
    CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

/// Checks no name, or nothing at all. The handshake is signed by what was shown all the same.
#[derive(Debug)]
struct Lenient {
    /// Takes a certificate of a trusted authority whatever name is in it: `verify-ca`. Without, takes any certificate:
    /// encryption without knowing with whom.
    trusted: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        // The name is what is checked last, so a wrong name means that all else is right.
        match trusted.verify_server_cert(cert, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

type Inner = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

impl MakeTlsConnect<Socket> for Tls {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = Handshake;
    type Error = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Self::Error> {
        let inner = <MakeRustlsConnect as MakeTlsConnect<Socket>>::make_tls_connect(&mut self.inner, host)?;
        Ok(Handshake { inner, used: self.used.clone() })
    }
}

/// One handshake, noted when it begins: from there on it is TLS or an error.
pub(super) struct Handshake {
    inner: Inner,
    used: Arc<AtomicBool>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = <Inner as TlsConnect<Socket>>::Stream;
    type Error = <Inner as TlsConnect<Socket>>::Error;
    type Future = <Inner as TlsConnect<Socket>>::Future;

    fn connect(self, socket: Socket) -> Self::Future {
        self.used.store(true, Ordering::Relaxed);
        self.inner.connect(socket)
    }
}
