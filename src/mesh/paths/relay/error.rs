//! Why a relay cannot be used, in words that a person can act on.

use crate::mesh::proxy::ProxyError;

/// Why a relay cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RelayError {
    /// The name has no address, or there is no network.
    #[error("the relay's name was not found ({0})")]
    NotFound(String),
    /// There is no way to it, or nothing listens there.
    #[error("the relay could not be reached ({0})")]
    Unreachable(String),
    /// Nothing came back: a firewall swallows what we send, or nobody is there.
    #[error("the relay did not answer")]
    NoAnswer,
    /// The proxy did not let us through.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// TLS failed: the certificate is not trusted, is for another name, or it is no TLS.
    #[error("the relay's identity could not be proven ({0})")]
    Tls(String),
    /// The user name or the password is wrong or has expired (error 401 or 441).
    #[error("the relay did not accept the credentials")]
    Credentials,
    /// It has no room for us (error 486 or 508).
    #[error("the relay is full (error {0})")]
    Full(u16),
    /// It refused, with an error code of RFC 8656, section 18.
    #[error("the relay refused (error {code})")]
    Refused {
        /// The code, such as 403.
        code: u16,
    },
    /// What it says is not TURN, or contradicts itself.
    #[error("what answered is no relay ({0})")]
    NotARelay(&'static str),
    /// It ended the connection.
    #[error("the relay ended the connection")]
    Closed,
    /// The allocation is gone: it was not refreshed in time, or the relay was restarted.
    #[error("the relay has forgotten us")]
    Forgotten,
}
