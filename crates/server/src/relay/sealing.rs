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

#[cfg(test)]
pub(super) mod tests {
    use rtc::{
        crypto::default_provider,
        srtp::{context::Context, protection_profile::ProtectionProfile},
    };
    use str0m::crypto::dtls::KeyingMaterial;

    use super::*;

    const PROFILES: [(SrtpProfile, ProtectionProfile); 3] = [
        (
            SrtpProfile::AES128_CM_SHA1_80,
            ProtectionProfile::Aes128CmHmacSha1_80,
        ),
        (
            SrtpProfile::AEAD_AES_128_GCM,
            ProtectionProfile::AeadAes128Gcm,
        ),
        (
            SrtpProfile::AEAD_AES_256_GCM,
            ProtectionProfile::AeadAes256Gcm,
        ),
    ];

    fn pair_of(profile: SrtpProfile, theirs: ProtectionProfile) -> (Sealer, Context) {
        let (key, salt) = (theirs.key_len(), theirs.salt_len());
        let material: Vec<u8> = (0..2 * (key + salt) as u8).collect();
        let exported = Exported {
            material: KeyingMaterial::new(&material),
            profile,
        };
        let crypto = str0m::crypto::from_feature_flags();
        let sealer = Sealer::new(&crypto, &exported).expect("keys");
        let opener = Context::new(
            &material[key..2 * key],
            &material[2 * key + salt..],
            theirs,
            None,
            None,
            default_provider().expect("a provider").crypto(),
        );
        (sealer, opener.expect("the same keys"))
    }

    /// Returns one that encrypts, and another implementation that decrypts it.
    pub(in crate::relay) fn pair() -> (Sealer, Context) {
        pair_of(PROFILES[2].0, PROFILES[2].1)
    }

    /// RFC 3550 section 5.1: version 2, payload type 96.
    fn header(number: u16, ssrc: u32) -> Vec<u8> {
        let mut header = vec![0x80, 96];
        header.extend(number.to_be_bytes());
        header.extend([0, 0, 0, 9]);
        header.extend(ssrc.to_be_bytes());
        header
    }

    #[test]
    fn another_implementation_reads_what_is_sent() {
        for (ours, theirs) in PROFILES {
            let (mut sealer, mut opener) = pair_of(ours, theirs);
            // Over the end of 16 bits, which the receiver counts by itself.
            for index in 65_530_u64..65_545 {
                let mut packet = header(index as u16, 7);
                let (plain, payload) = (packet.clone(), vec![index as u8; 100]);
                assert!(sealer.seal_rtp(&mut packet, &payload, 7, index));
                assert_eq!(packet.len(), plain.len() + 100 + sealer.rtp.tag());
                let opened = opener.decrypt_rtp(&packet).expect("authentic");
                assert_eq!(opened[..], [plain, payload].concat());
                *packet.last_mut().expect("a tag") ^= 1;
                assert!(opener.decrypt_rtp(&packet).is_err(), "{ours}");
            }
            let mut report = vec![0x80, 200, 0, 6];
            report.extend(1..=24);
            for _ in 0..3 {
                let sealed = sealer.seal_rtcp(&report).expect("a report");
                assert_ne!(sealed[8..28], report[8..], "encrypted");
                assert_eq!(opener.decrypt_rtcp(&sealed).expect("authentic"), report);
            }
        }
    }

    #[test]
    fn no_two_packets_are_encrypted_alike() {
        let (mut sealer, _) = pair();
        let report = [[0x80, 201, 0, 1, 0, 0, 0, 1], [0; 8]].concat();
        let (first, second) = (sealer.seal_rtcp(&report), sealer.seal_rtcp(&report));
        assert_ne!(first, second);
        // The other half of the numbers is str0m's.
        let number = first.map(|sealed| sealed[sealed.len() - 4..].to_vec());
        assert_eq!(number, Some(vec![0xc0, 0, 0, 0]));
    }

    #[test]
    fn the_keys_are_those_of_the_standard() {
        // RFC 3711 appendix B.3.
        let master = Master {
            key: &0xe1f9_7a0d_3e01_8be0_d64f_a32c_06de_4139_u128.to_be_bytes(),
            salt: [
                0x0e, 0xc6, 0x75, 0xad, 0x49, 0x8a, 0xfe, 0xeb, 0xb6, 0x96, 0x0b, 0x3a, 0xab, 0xe6,
            ],
        };
        let srtp = str0m::crypto::from_feature_flags().srtp_provider;
        let key: [u8; 16] = master.derive(srtp, RTP.key);
        assert_eq!(
            u128::from_be_bytes(key),
            0xc61e_7a93_744f_39ee_1073_4afe_3ff7_a087
        );
        let salt: [u8; 14] = master.derive(srtp, RTP.salt);
        assert_eq!(salt[..4], [0x30, 0xcb, 0xbc, 0x08]);
        let authentication: [u8; 20] = master.derive(srtp, RTP.authentication);
        assert_eq!(authentication[..4], [0xce, 0xbe, 0x32, 0x1f]);
        assert_eq!(authentication[16..], [0x6d, 0x38, 0xba, 0xa4]);
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        let crypto = str0m::crypto::from_feature_flags();
        for (profile, _) in PROFILES {
            let material = KeyingMaterial::new(&[0; 40]);
            assert!(Sealer::new(&crypto, &Exported { material, profile }).is_none());
        }
    }
}
