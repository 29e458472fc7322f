//! SRTP and SRTCP for what the relay sends (RFC 3711, RFC 7714): the keys of one direction of a
//! connection. The ciphers are str0m's; what comes in is str0m's as well.

use std::fmt;

use str0m::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256Gcm, AeadAes256GcmCipher, Aes128CmSha1_80,
    Aes128CmSha1_80Cipher, CryptoProvider, Sha1HmacProvider, SrtpProvider, dtls::SrtpProfile,
};

use super::exporter::Exported;

/// What keys are derived for (RFC 3711 section 4.3.1): those of SRTP, and those of SRTCP.
const RTP: Labels = Labels {
    key: 0,
    authentication: 1,
    salt: 2,
};
const RTCP: Labels = Labels {
    key: 3,
    authentication: 4,
    salt: 5,
};

/// Where the numbers of reports begin: str0m, which sends others with the same keys, counts from zero.
const FIRST_REPORT: u32 = 1 << 30;
/// The numbers of reports have 31 bits; the bit before them says that the report is encrypted.
const ENCRYPTED: u32 = 1 << 31;
/// What of a report is not encrypted: its first header, and who sends it.
const REPORT_HEADER: usize = 8;

#[derive(Clone, Copy)]
struct Labels {
    key: u8,
    authentication: u8,
    salt: u8,
}

/// Encrypts what is sent on one connection.
pub(super) struct Sealer {
    rtp: Cipher,
    rtcp: Cipher,
    hmac: &'static dyn Sha1HmacProvider,
    next_report: u32,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

enum Cipher {
    Gcm128 {
        cipher: Box<dyn AeadAes128GcmCipher>,
        salt: [u8; 12],
    },
    Gcm256 {
        cipher: Box<dyn AeadAes256GcmCipher>,
        salt: [u8; 12],
    },
    Cm {
        cipher: Box<dyn Aes128CmSha1_80Cipher>,
        salt: [u8; 14],
        authentication: [u8; Aes128CmSha1_80::HMAC_KEY_LEN],
    },
}

/// A master key with its salt, zero after its end.
struct Master<'a> {
    key: &'a [u8],
    salt: [u8; 14],
}

impl Sealer {
    /// Takes the keys of the DTLS server's direction; `None` if `exported` are not such keys.
    pub(super) fn new(crypto: &CryptoProvider, exported: &Exported) -> Option<Self> {
        let (key, salt) = match exported.profile {
            SrtpProfile::AEAD_AES_128_GCM => (AeadAes128Gcm::KEY_LEN, AeadAes128Gcm::SALT_LEN),
            SrtpProfile::AEAD_AES_256_GCM => (AeadAes256Gcm::KEY_LEN, AeadAes256Gcm::SALT_LEN),
            SrtpProfile::AES128_CM_SHA1_80 => (Aes128CmSha1_80::KEY_LEN, Aes128CmSha1_80::SALT_LEN),
            _ => return None,
        };
        let material: &[u8] = &exported.material;
        if material.len() != 2 * (key + salt) {
            return None;
        }
        let mut master = Master {
            key: &material[key..2 * key],
            salt: [0; 14],
        };
        master.salt[..salt].copy_from_slice(&material[2 * key + salt..]);
        let srtp = crypto.srtp_provider;
        Some(Self {
            rtp: Cipher::new(srtp, exported.profile, &master, RTP)?,
            rtcp: Cipher::new(srtp, exported.profile, &master, RTCP)?,
            hmac: crypto.sha1_hmac_provider,
            next_report: FIRST_REPORT,
        })
    }

    /// Makes a packet of RTP of the header in `packet` and `payload`, which is encrypted. `index` is the
    /// sequence number, rollovers included. Returns whether that could be done.
    pub(super) fn seal_rtp(
        &mut self,
        packet: &mut Vec<u8>,
        payload: &[u8],
        ssrc: u32,
        index: u64,
    ) -> bool {
        let (rollovers, number) = ((index >> 16) as u32, index as u16);
        let header = packet.len();
        let end = header + payload.len();
        packet.resize(end + self.rtp.tag(), 0);
        let (head, body) = packet.split_at_mut(header);
        match &mut self.rtp {
            Cipher::Gcm128 { cipher, salt } => {
                let iv = AeadAes128Gcm::rtp_iv(*salt, ssrc, rollovers, number);
                cipher.encrypt(&iv, head, payload, body).is_ok()
            }
            Cipher::Gcm256 { cipher, salt } => {
                let iv = AeadAes256Gcm::rtp_iv(*salt, ssrc, rollovers, number);
                cipher.encrypt(&iv, head, payload, body).is_ok()
            }
            Cipher::Cm {
                cipher,
                salt,
                authentication,
            } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index);
                let sealed = cipher.encrypt(&iv, payload, body);
                let hmac = |key: &[u8], parts: &[&[u8]]| self.hmac.sha1_hmac(key, parts);
                Aes128CmSha1_80::rtp_hmac(hmac, authentication, packet, index, end);
                sealed.is_ok()
            }
        }
    }

    /// Returns a report encrypted; `None` if that could not be done.
    pub(super) fn seal_rtcp(&mut self, report: &[u8]) -> Option<Vec<u8>> {
        let (header, body) = report.split_at_checked(REPORT_HEADER)?;
        let ssrc = u32::from_be_bytes(header[4..].try_into().ok()?);
        let index = self.next_report;
        self.next_report = (index + 1) % ENCRYPTED;
        let trailer = (index | ENCRYPTED).to_be_bytes();
        let end = report.len() + self.rtcp.tag();
        let mut datagram = vec![0; end + trailer.len()];
        datagram[..REPORT_HEADER].copy_from_slice(header);
        let sealed = match &mut self.rtcp {
            Cipher::Gcm128 { cipher, salt } => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                let aad = [header, &trailer].concat();
                datagram[end..].copy_from_slice(&trailer);
                cipher.encrypt(&iv, &aad, body, &mut datagram[REPORT_HEADER..end])
            }
            Cipher::Gcm256 { cipher, salt } => {
                let iv = AeadAes256Gcm::rtcp_iv(*salt, ssrc, index);
                let aad = [header, &trailer].concat();
                datagram[end..].copy_from_slice(&trailer);
                cipher.encrypt(&iv, &aad, body, &mut datagram[REPORT_HEADER..end])
            }
            Cipher::Cm {
                cipher,
                salt,
                authentication,
            } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index.into());
                let sealed = cipher.encrypt(&iv, body, &mut datagram[REPORT_HEADER..]);
                let tag = report.len() + trailer.len();
                datagram[report.len()..tag].copy_from_slice(&trailer);
                let hmac = |key: &[u8], parts: &[&[u8]]| self.hmac.sha1_hmac(key, parts);
                Aes128CmSha1_80::rtcp_hmac(hmac, authentication, &mut datagram, tag);
                sealed
            }
        };
        sealed.is_ok().then_some(datagram)
    }
}

impl Cipher {
    fn new(
        srtp: &dyn SrtpProvider,
        profile: SrtpProfile,
        master: &Master<'_>,
        labels: Labels,
    ) -> Option<Self> {
        Some(match profile {
            SrtpProfile::AEAD_AES_128_GCM => {
                let key = master.derive(srtp, labels.key);
                Self::Gcm128 {
                    cipher: srtp.aead_aes_128_gcm().create_cipher(key, true),
                    salt: master.derive(srtp, labels.salt),
                }
            }
            SrtpProfile::AEAD_AES_256_GCM => {
                let key = master.derive(srtp, labels.key);
                Self::Gcm256 {
                    cipher: srtp.aead_aes_256_gcm().create_cipher(key, true),
                    salt: master.derive(srtp, labels.salt),
                }
            }
            SrtpProfile::AES128_CM_SHA1_80 => {
                let key = master.derive(srtp, labels.key);
                Self::Cm {
                    cipher: srtp.aes_128_cm_sha1_80().create_cipher(key, true),
                    salt: master.derive(srtp, labels.salt),
                    authentication: master.derive(srtp, labels.authentication),
                }
            }
            _ => return None,
        })
    }

    /// Returns the length of the tag.
    fn tag(&self) -> usize {
        match self {
            Self::Gcm128 { .. } => AeadAes128Gcm::TAG_LEN,
            Self::Gcm256 { .. } => AeadAes256Gcm::TAG_LEN,
            Self::Cm { .. } => Aes128CmSha1_80::HMAC_TAG_LEN,
        }
    }
}

impl Master<'_> {
    /// Derives a session key or salt (RFC 3711 section 4.3.1 with a key derivation rate of zero, RFC
    /// 7714 section 11).
    fn derive<const LENGTH: usize>(&self, srtp: &dyn SrtpProvider, label: u8) -> [u8; LENGTH] {
        let mut input = [0; 16];
        input[..14].copy_from_slice(&self.salt);
        input[7] ^= label;
        let mut derived = [0; LENGTH];
        for (count, chunk) in (0_u16..).zip(derived.chunks_mut(16)) {
            input[14..].copy_from_slice(&count.to_be_bytes());
            // Room for the padding that some ciphers write.
            let mut block = [0; 32];
            match self.key.len() {
                AeadAes256Gcm::KEY_LEN => srtp.srtp_aes_256_ecb_round(self.key, &input, &mut block),
                _ => srtp.srtp_aes_128_ecb_round(self.key, &input, &mut block),
            }
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        derived
    }
}
