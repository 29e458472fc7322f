//! Nonces that the server need not remember: a time, and a code over it and the client's address.
//!
//! Whoever has no credentials is only ever told a nonce, so a flood of requests costs no memory.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// How long a nonce is good for. Clients ask again when told that one is stale.
const LIFETIME: Duration = Duration::from_secs(600);
/// Bytes of the code that are shown.
const CODE: usize = 12;

/// Makes nonces and knows its own again.
#[derive(Debug, Clone)]
pub(crate) struct Nonces {
    key: [u8; 32],
}

impl Nonces {
    /// Makes nonces with a key that nobody else has.
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// Returns a nonce for `client` at `unix_time`.
    pub(crate) fn make(&self, client: SocketAddr, unix_time: Duration) -> String {
        let mut bytes = [0; 8 + CODE];
        let time = unix_time.as_secs().to_be_bytes();
        bytes[..8].copy_from_slice(&time);
        bytes[8..].copy_from_slice(&self.code(client, time));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Tells whether a nonce was made for `client` not too long ago.
    pub(crate) fn good(&self, nonce: &str, client: SocketAddr, unix_time: Duration) -> bool {
        let mut bytes = [0; 8 + CODE];
        if URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) != Ok(bytes.len()) {
            return false;
        }
        let (time, code) = bytes.split_at(8);
        let time: [u8; 8] = time.try_into().expect("split at eight");
        let age = unix_time.as_secs().checked_sub(u64::from_be_bytes(time));
        let young = age.is_some_and(|age| age < LIFETIME.as_secs());
        bool::from(self.code(client, time).ct_eq(code)) && young
    }

    fn code(&self, client: SocketAddr, time: [u8; 8]) -> [u8; CODE] {
        let code = Hmac::<Sha256>::new_from_slice(&self.key);
        let mut code = code.expect("HMAC takes a key of any length");
        code.update(&time);
        match client.ip() {
            IpAddr::V4(address) => code.update(&address.octets()),
            IpAddr::V6(address) => code.update(&address.octets()),
        }
        code.update(&client.port().to_be_bytes());
        let code = code.finalize().into_bytes();
        *code.first_chunk().expect("SHA-256 is longer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_its_client_for_a_while() {
        let nonces = Nonces::new([7; 32]);
        let client = "192.0.2.1:1000".parse().unwrap();
        let time = Duration::from_secs(1_000_000);
        let nonce = nonces.make(client, time);
        assert!(nonces.good(&nonce, client, time));
        assert!(nonces.good(&nonce, client, time + Duration::from_secs(599)));
        assert!(!nonces.good(&nonce, client, time + Duration::from_secs(600)));
        assert!(!nonces.good(&nonce, client, time - Duration::from_secs(1)));
        assert!(!nonces.good(&nonce, "192.0.2.1:1001".parse().unwrap(), time));
        assert!(!Nonces::new([8; 32]).good(&nonce, client, time));
        for unfit in [
            "",
            "x",
            &nonce[1..],
            &format!("{nonce}A"),
            &nonce.to_lowercase(),
        ] {
            assert!(!nonces.good(unfit, client, time), "{unfit}");
        }
        // A nonce that begins so promises features of RFC 8489 section 9.2 that are not there.
        assert!(!nonce.starts_with("obMatJos2"));
    }
}
