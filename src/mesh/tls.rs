//! Whom we trust: one TLS set-up for the meeting server and for relays.
//!
//! The certificates that the system trusts count, so that the ones of an organisation do; where a
//! system has none, Mozilla's list does. The environment may name more.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

/// Names a file (PEM) of certificates to trust besides the usual ones, for servers on one's own
/// network.
const EXTRA_ROOTS: &str = "NONSTOP_EXTRA_ROOTS";

/// The certificates to trust could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificates to trust could not be read ({0})")]
pub(crate) struct RootsError(String);

/// The TLS set-ups of this process. All of them share what lets a connection to a known server
/// be resumed.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    /// For the meeting server: HTTP/1.1.
    pub(crate) signalling: Arc<ClientConfig>,
    /// For relays: no protocol is named (there is one for TURN in RFC 7443, which few relays and
    /// no firewalls know).
    pub(crate) relays: Arc<ClientConfig>,
}

impl Tls {
    /// Returns the set-up of this process, made once it is first asked for.
    ///
    /// # Errors
    /// The file that the environment names cannot be read.
    pub(crate) fn shared() -> Result<Self, RootsError> {
        static SHARED: OnceLock<Tls> = OnceLock::new();
        if let Some(tls) = SHARED.get() {
            return Ok(tls.clone());
        }
        let extra = match std::env::var_os(EXTRA_ROOTS) {
            Some(path) => read(PathBuf::from(path))?,
            None => Vec::new(),
        };
        let tls = Self::trusting(extra)?;
        Ok(SHARED.get_or_init(|| tls).clone())
    }

    /// Makes a set-up that trusts the usual certificates and `extra`.
    ///
    /// # Errors
    /// One of `extra` is no certificate.
    pub(crate) fn trusting(extra: Vec<CertificateDer<'static>>) -> Result<Self, RootsError> {
        // Named here, because a process that holds several providers has no default.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = verifier(extra, &provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3");
        let relays = config
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let mut signalling = relays.clone();
        signalling.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            signalling: Arc::new(signalling),
            relays: Arc::new(relays),
        })
    }
}

/// Makes the verifier of the system, or one that trusts Mozilla's list where it has none.
fn verifier(
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, RootsError> {
    match Verifier::new(Arc::clone(provider)) {
        Ok(verifier) if extra.is_empty() => return Ok(Arc::new(verifier)),
        Ok(_) => {
            let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(provider));
            return Ok(Arc::new(verifier.map_err(|error| bad(&error))?));
        }
        Err(error) => tracing::info!(%error, "this system trusts no certificates; Mozilla's do"),
    }
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for certificate in extra {
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    let builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    Ok(builder.build().map_err(|error| bad(&error))?)
}

fn bad(what: &dyn fmt::Display) -> RootsError {
    RootsError(what.to_string())
}

fn read(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let bad = |what: &dyn fmt::Display| bad(&format_args!("{}: {what}", path.display()));
    let certificates = CertificateDer::pem_file_iter(&path).map_err(|error| bad(&error))?;
    let certificates = certificates.collect::<Result<_, _>>();
    certificates.map_err(|error| bad(&error))
}
