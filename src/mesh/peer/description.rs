//! Session descriptions, between what webrtc-rs writes and what the other side reads: they carry
//! the credentials and candidates of our paths, and webrtc-rs sees none of them.

use nonstop_ice::{Candidate, Credentials};

const UFRAG: &str = "a=ice-ufrag:";
const PASSWORD: &str = "a=ice-pwd:";
const FINGERPRINT: &str = "a=fingerprint:sha-256 ";
const OPTIONS: &str = "a=ice-options:";
/// Trickle (RFC 8838), and a path that is chosen may be chosen anew
/// (draft-thatcher-ice-renomination).
const OUR_OPTIONS: &str = "a=ice-options:trickle renomination";
/// Most candidates that are read from a description.
const MOST_CANDIDATES: usize = 64;

/// What the other side's description says about its paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ways {
    pub(super) credentials: Credentials,
    pub(super) renomination: bool,
    pub(super) candidates: Vec<Candidate>,
}

/// Returns the credentials that a description names first.
pub(super) fn credentials(sdp: &str) -> Option<Credentials> {
    let first = |prefix| {
        sdp.lines()
            .find_map(|line: &str| line.trim_end().strip_prefix(prefix))
    };
    let credentials = Credentials {
        ufrag: first(UFRAG)?.to_owned(),
        password: first(PASSWORD)?.to_owned(),
    };
    credentials.is_valid().then_some(credentials)
}

/// Reads what the other side's description says about its paths; none where it names no valid
/// credentials.
pub(super) fn ways(sdp: &str) -> Option<Ways> {
    let mut lines = sdp.lines().map(str::trim_end);
    let renomination = lines.any(|line| {
        line.strip_prefix(OPTIONS)
            .is_some_and(|options| options.split(' ').any(|option| option == "renomination"))
    });
    let candidates = sdp
        .lines()
        .filter(|line| is_candidate(line))
        .filter_map(|line| line.trim_end().parse().ok())
        .take(MOST_CANDIDATES)
        .collect();
    Some(Ways {
        credentials: credentials(sdp)?,
        renomination,
        candidates,
    })
}

/// Rewrites a description: these credentials, these options, and these candidates in its first
/// section (all media is bundled there), in place of those it has.
fn rewrite(
    sdp: &str,
    credentials: &Credentials,
    options: &str,
    candidates: &[Candidate],
) -> String {
    let mut told = candidates;
    let mut out = String::with_capacity(sdp.len() + 100 * candidates.len());
    let mut line_out = |line: &str| {
        out.push_str(line);
        out.push_str("\r\n");
    };
    for line in sdp.lines().map(str::trim_end) {
        if line.starts_with(UFRAG) {
            line_out(&format!("{UFRAG}{}", credentials.ufrag));
        } else if line.starts_with(PASSWORD) {
            line_out(&format!("{PASSWORD}{}", credentials.password));
            line_out(options);
            for candidate in std::mem::take(&mut told) {
                line_out(&format!("a={candidate}"));
            }
        } else if !(is_candidate(line)
            || line.starts_with(OPTIONS)
            || line.starts_with("a=end-of-candidates")
            || line.is_empty())
        {
            line_out(line);
        }
    }
    out
}

/// Returns webrtc-rs's description as the other side gets it.
pub(super) fn for_them(sdp: &str, own: &Credentials, candidates: &[Candidate]) -> String {
    rewrite(sdp, own, OUR_OPTIONS, candidates)
}

/// Returns the other side's description as webrtc-rs gets it: with the stand-in's credentials.
pub(super) fn for_us(sdp: &str, stand_in: &Credentials) -> String {
    rewrite(sdp, stand_in, "a=ice-options:trickle", &[])
}

/// Returns the certificate's hash that a description names, without the name of the hash.
pub(super) fn fingerprint(sdp: &str) -> Option<String> {
    let mut lines = sdp.lines().map(str::trim_end);
    let hash = lines.find_map(|line| line.strip_prefix(FINGERPRINT))?;
    is_fingerprint(hash).then(|| hash.to_owned())
}

/// Tells whether a text is 32 pairs of hexadecimal digits, separated by colons.
pub(super) fn is_fingerprint(text: &str) -> bool {
    let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|it| it.is_ascii_hexdigit());
    text.split(':').count() == 32 && text.split(':').all(pair)
}

/// Returns the number that a description gives a header extension.
pub(super) fn extension(sdp: &str, uri: &str) -> Option<u8> {
    let named = |line: &str| {
        let (number, name) = line.trim_end().strip_prefix("a=extmap:")?.split_once(' ')?;
        // A direction may follow the number (RFC 8285 section 8).
        let number = number.split('/').next()?.parse().ok()?;
        (name.split(' ').next() == Some(uri)).then_some(number)
    };
    sdp.lines().find_map(named)
}

/// Makes an answer from our own offer: somebody with this certificate who takes in everything that
/// is offered and waits for our DTLS (RFC 8842 section 5.2).
pub(super) fn answer(offer: &str, fingerprint: &str) -> String {
    let mut out = String::with_capacity(offer.len());
    for line in offer.lines().map(str::trim_end) {
        let theirs = [
            FINGERPRINT,
            "a=setup:",
            "a=ssrc",
            "a=msid",
            "a=sendrecv",
            "a=sendonly",
        ];
        let replaced = theirs.iter().find(|prefix| line.starts_with(**prefix));
        match replaced {
            None => out.push_str(line),
            Some(&FINGERPRINT) => {
                out.push_str(FINGERPRINT);
                out.push_str(fingerprint);
            }
            Some(&"a=setup:") => out.push_str("a=setup:passive"),
            Some(&"a=sendrecv" | &"a=sendonly") => out.push_str("a=recvonly"),
            Some(_) => continue,
        }
        out.push_str("\r\n");
    }
    out
}

fn is_candidate(line: &str) -> bool {
    line.starts_with("a=candidate:")
}

#[cfg(test)]
mod tests {
    use nonstop_ice::CandidateKind;

    use super::*;

    const THEIRS: &str = "v=0\r\na=group:BUNDLE 0 1\r\na=ice-options:trickle renomination\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
        a=candidate:1 1 udp 5 192.0.2.1 5000 typ host\r\na=candidate:1 1 tcp 5 192.0.2.1 9 typ host\r\n\
        a=end-of-candidates\r\na=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:0123456789012345678901\r\na=mid:1\r\n";

    fn own() -> Credentials {
        Credentials {
            ufrag: "wxyz".to_owned(),
            password: "9876543210987654321098".to_owned(),
        }
    }

    #[test]
    fn the_relays_answer_takes_in_what_is_offered_and_waits() {
        let hash = ["AB"; 32].join(":");
        let offer = format!(
            "v=0\r\na=fingerprint:sha-256 {hash}\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\n\
             a=setup:actpass\r\na=mid:1\r\na=extmap:4/sendonly urn:a\r\na=extmap:5 urn:b\r\n\
             a=ssrc:7 cname:x\r\na=msid:p camera\r\na=sendrecv\r\n"
        );
        assert_eq!(fingerprint(&offer).as_deref(), Some(hash.as_str()));
        assert_eq!(extension(&offer, "urn:a"), Some(4));
        assert_eq!(extension(&offer, "urn:b"), Some(5));
        assert_eq!(extension(&offer, "urn:"), None);
        let theirs = ["CD"; 32].join(":");
        let expected = format!(
            "v=0\r\na=fingerprint:sha-256 {theirs}\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\n\
             a=setup:passive\r\na=mid:1\r\na=extmap:4/sendonly urn:a\r\na=extmap:5 urn:b\r\n\
             a=recvonly\r\n"
        );
        assert_eq!(answer(&offer, &theirs), expected);
        for wrong in [
            "",
            "AB",
            "AB:CD",
            &["A"; 32].join(":"),
            &["\r\n"; 32].join(":"),
        ] {
            assert!(!is_fingerprint(wrong));
        }
    }

    #[test]
    fn what_concerns_paths_is_read() {
        let ways = ways(THEIRS).expect("it has credentials");
        assert_eq!(ways.credentials.ufrag, "abcd");
        assert!(ways.renomination);
        assert_eq!(ways.candidates.len(), 1);
        assert_eq!(super::ways("v=0\r\na=ice-ufrag:abcd\r\n"), None);
    }

    #[test]
    fn webrtc_sees_no_candidate_and_other_credentials() {
        let seen = for_us(THEIRS, &own());
        assert!(!seen.contains("candidate:1"));
        assert!(!seen.contains("abcd") && !seen.contains("renomination"));
        assert_eq!(seen.matches("a=ice-ufrag:wxyz\r\n").count(), 2);
        assert!(seen.contains("a=mid:1\r\n"));
    }

    #[test]
    fn the_other_side_sees_our_credentials_and_each_candidate_once() {
        let address = "192.0.2.9:5".parse().expect("an address");
        let candidate = Candidate::new(CandidateKind::Host, address, None, 9);
        let told = for_them(THEIRS, &own(), std::slice::from_ref(&candidate));
        let ways = ways(&told).expect("it has credentials");
        assert_eq!(ways.credentials, own());
        assert!(ways.renomination);
        assert_eq!(ways.candidates, [candidate]);
        assert!(told.find("192.0.2.9") < told.find("m=video"));
    }
}
