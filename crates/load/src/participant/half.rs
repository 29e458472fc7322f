//! A participant's half of its connection to the relay: what it opens, offers and expects.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, bail};
use nonstop_wire::{ClientMessage, LayerSize, Publish, Published, RelayOpen, RelayOpened};
use str0m::{
    Candidate, IceCreds, Rtc,
    config::Fingerprint,
    media::{MediaKind, Mid, Pt},
    net::Protocol,
    rtp::Ssrc,
};
use tokio_tungstenite::MaybeTlsStream;

use super::{Participant, Socket, random, say};
use crate::{
    clock,
    endpoint::{Endpoint, Expected, Outlet},
    options::Misuse,
    player::{Player, Turns},
    transport::{EXTENSIONS, PAYLOAD_TYPES},
};

/// The hash of certificates that the protocol has.
const HASH: &str = "sha-256 ";
/// The media sections of sound, and of what is watched.
const SOUND: &str = "a";
const WATCHED: &str = "w";

impl Participant {
    /// Asks for a connection to the relay, and says at once what will be sent.
    pub(super) async fn open(&mut self, rtc: Rtc, socket: &mut Socket) -> anyhow::Result<()> {
        let address = match socket.get_ref() {
            MaybeTlsStream::Plain(stream) => stream.local_addr()?.ip(),
            _ => {
                bail!("only servers on loopback and private addresses, without TLS, are known here")
            }
        };
        let (mut endpoint, open) = self.half(rtc, address)?;
        self.connection += 1;
        let layers = self.sizes();
        endpoint.player = Some(self.player(layers.len())?);
        if self.summary.index == 0 {
            endpoint.nags = self.scene.options.misuse == Some(Misuse::Keyframes);
        }
        self.endpoint = Some(endpoint);
        say(
            socket,
            &ClientMessage::RelayOpen(RelayOpen {
                connection: self.connection,
                ..open
            }),
        )
        .await?;
        let sound = self.summary.index < self.scene.options.microphones();
        if sound || !layers.is_empty() {
            let publish = Publish {
                sound,
                layers,
                preferred: true,
            };
            say(socket, &ClientMessage::Publish(publish)).await?;
        }
        self.watch(socket).await
    }

    /// Makes the endpoint and its half of the connection's description.
    pub(super) fn half(&self, rtc: Rtc, address: IpAddr) -> anyhow::Result<(Endpoint, RelayOpen)> {
        let mut endpoint = Endpoint::new(rtc, address)?;
        let sound = random::<u32>()? | 1;
        let layers: Vec<u32> = (0..self.sizes().len() as u32)
            .map(|layer| sound.wrapping_add(2 * layer + 2))
            .collect();
        let mut api = endpoint.rtc.direct_api();
        api.set_ice_controlling(true);
        let mid = Mid::from(SOUND);
        api.declare_media(mid, MediaKind::Audio);
        api.declare_stream_tx(Ssrc::from(sound), None, mid, None);
        let mut outlets = Vec::new();
        for (index, ssrc) in layers.iter().enumerate() {
            let mid = Mid::from(format!("v{index}").as_str());
            api.declare_media(mid, MediaKind::Video);
            api.declare_stream_tx(Ssrc::from(*ssrc), None, mid, None);
            outlets.push(outlet(mid, *ssrc, PAYLOAD_TYPES.pictures));
        }
        api.declare_media(Mid::from(WATCHED), MediaKind::Video);
        let IceCreds { ufrag, pass } = api.local_ice_credentials();
        let fingerprint = api.local_dtls_fingerprint().to_string();
        let fingerprint = fingerprint
            .strip_prefix(HASH)
            .context("another hash than SHA-256")?;
        let open = RelayOpen {
            connection: 0,
            ufrag,
            password: pass,
            fingerprint: fingerprint.to_owned(),
            sound,
            layers,
            payload_types: PAYLOAD_TYPES,
            extensions: EXTENSIONS,
        };
        endpoint.sound = Some(outlet(mid, sound, PAYLOAD_TYPES.sound));
        endpoint.layers = outlets;
        Ok((endpoint, open))
    }

    pub(super) fn sizes(&self) -> Vec<LayerSize> {
        if self.summary.index >= self.scene.options.cameras() {
            return Vec::new();
        }
        (self.scene.recording.layers.iter())
            .map(|layer| LayerSize {
                width: layer.width,
                height: layer.height,
            })
            .collect()
    }

    pub(super) fn player(&self, layers: usize) -> anyhow::Result<Player> {
        let options = &self.scene.options;
        let turns = Turns {
            people: options.microphones(),
            voices: options.voices,
            index: self.summary.index,
        };
        // Cameras do not take their pictures at the same moment.
        let phase = Duration::from_millis(u64::from(random::<u32>()? % 40));
        let start = clock::now() + phase;
        let player = Player::new(
            self.scene.recording.clone(),
            layers,
            turns,
            !options.clean,
            random()?,
            start,
        );
        Ok(player.redundant())
    }

    pub(super) fn opened(&mut self, opened: &RelayOpened) -> anyhow::Result<()> {
        let endpoint = self.endpoint.as_mut().context("nothing was opened")?;
        let local = endpoint.socket.local();
        let address = (opened.addresses.iter()).find(|address| {
            address.is_ipv4() == local.is_ipv4()
                && address.ip().is_loopback() == local.ip().is_loopback()
        });
        let address = *address.context("the relay has no address that can be reached")?;
        endpoint
            .rtc
            .add_remote_candidate(Candidate::host(address, Protocol::Udp)?);
        let mut api = endpoint.rtc.direct_api();
        api.set_remote_ice_credentials(IceCreds {
            ufrag: opened.ufrag.clone(),
            pass: opened.password.clone(),
        });
        let fingerprint: Fingerprint = format!("{HASH}{}", opened.fingerprint)
            .parse()
            .map_err(anyhow::Error::msg)?;
        api.set_remote_fingerprint(fingerprint);
        api.start_dtls(true)?;
        api.enable_twcc_feedback();
        endpoint.expect_padding(opened.padding_ssrc, Mid::from(WATCHED));
        endpoint.run()
    }

    pub(super) fn expect(&mut self, published: &Published) {
        let Some(endpoint) = &mut self.endpoint else {
            return;
        };
        let sound = Expected {
            mid: Mid::from(SOUND),
            repair: None,
            sound: true,
            declare: true,
        };
        let pictures = Expected {
            mid: Mid::from(WATCHED),
            repair: Some(published.repair_ssrc),
            sound: false,
            declare: true,
        };
        if (self.published.get(&published.participant))
            .is_none_or(|known| known.pictures_ssrc != published.pictures_ssrc)
        {
            endpoint.expect(published.sound_ssrc, sound);
            endpoint.expect(published.pictures_ssrc, pictures);
        }
    }
}

fn outlet(mid: Mid, ssrc: u32, payload_type: u8) -> Outlet {
    Outlet {
        mid,
        ssrc: Ssrc::from(ssrc),
        payload_type: Pt::new_with_value(payload_type),
    }
}
