//! HTTP proxies on the way out: which one, for whom, and how to get through (RFC 9110, section
//! 9.3.6).

/// A proxy to go through.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// What the header `Proxy-Authorization` says, if anything.
    pub(crate) authorization: Option<String>,
    /// Whether somebody chose it, so that nothing may go past it.
    pub(crate) only: bool,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

/// Why there is no way through the proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The proxy itself could not be reached.
    #[error("the proxy could not be reached ({0})")]
    Unreachable(String),
    /// It wants a user name and password, or others (status 407).
    #[error("the proxy asks for a user name and password")]
    Credentials,
    /// It does not connect to there (any other status).
    #[error("the proxy refused (status {0})")]
    Refused(u16),
    /// It speaks something else.
    #[error("what answers at the proxy's address is no HTTP proxy")]
    NotAProxy,
}
