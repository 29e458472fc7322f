//! The keys that DTLS exports for SRTP (RFC 5764 section 4.2), which str0m keeps to itself.
//!
//! What str0m is given to do DTLS with shows them on their way to it. str0m goes on to decrypt what comes
//! in and to encrypt reports; media that goes out is encrypted here.

use std::{cell::RefCell, fmt, time::Instant};

use str0m::crypto::{
    CryptoError, CryptoProvider,
    dtls::{
        DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion,
        KeyingMaterial, ProtocolVersion, SrtpProfile,
    },
};

/// What a handshake ended with.
pub(super) struct Exported {
    /// Keys and salts, in the order of RFC 5764 section 4.2: the client's key, the server's key, the
    /// client's salt, the server's salt.
    pub(super) material: KeyingMaterial,
    pub(super) profile: SrtpProfile,
}

impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exported").finish_non_exhaustive()
    }
}

thread_local! {
    /// What was exported during the call that [`watch`] watches.
    static EXPORTED: RefCell<Option<Exported>> = const { RefCell::new(None) };
}

/// Returns `provider` with a DTLS that shows its keys to [`watch`].
pub(super) fn showing(provider: CryptoProvider) -> CryptoProvider {
    // One for as long as the program runs: str0m wants it to be there always.
    let dtls = Box::leak(Box::new(Showing(provider.dtls_provider)));
    CryptoProvider {
        dtls_provider: dtls,
        ..provider
    }
}

/// Calls into str0m, and returns what a handshake that ended meanwhile exported.
pub(super) fn watch<T>(call: impl FnOnce() -> T) -> (T, Option<Exported>) {
    EXPORTED.take();
    let value = call();
    (value, EXPORTED.take())
}

#[derive(Debug)]
struct Showing(&'static dyn DtlsProvider);

impl DtlsProvider for Showing {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.0.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let dtls = self.0.new_dtls(cert, now, version, mtu)?;
        Ok(Box::new(ShowingInstance(dtls)))
    }

    fn is_test(&self) -> bool {
        self.0.is_test()
    }
}

#[derive(Debug)]
struct ShowingInstance(Box<dyn DtlsInstance>);

impl DtlsInstance for ShowingInstance {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.0.poll_output(buf);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            EXPORTED.set(Some(Exported {
                material: KeyingMaterial::new(material),
                profile: *profile,
            }));
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}
