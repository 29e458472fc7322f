//! Synthetic participants of a video room of Janus 1.1, to measure it beside our relay: the same
//! streams, the same receivers. Those with cameras publish on one connection, the others subscribe to
//! a page of them on another, as its own clients do.
//!
//! ```text
//! create ─ attach ─ (room: create) ─┬─ publisher: join, publish + offer ◀▶ answer
//!                                   └─ subscriber: join with feeds ◀ offer, start + answer ▶
//! ```

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use str0m::{
    Rtc,
    change::{SdpAnswer, SdpOffer},
    media::{Direction, MediaKind, Pt},
};
use tokio::{
    net::TcpStream,
    time::{interval, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig,
    },
};

use crate::{
    clock,
    endpoint::{Endpoint, Happening, Outlet},
    participant::READ_BUFFER,
    player::{Player, Turns},
    scene::{Phase, Scene, Summary},
    transport::{self, PAYLOAD_TYPES},
};

const PROTOCOL: &str = "janus-protocol";
const ROOM: u64 = 4711;
/// The identity of the first publisher in the room; the others count on.
const FIRST_FEED: u64 = 1000;
/// A session without a sign of life ends after a minute.
const SIGN_OF_LIFE: Duration = Duration::from_secs(25);
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);

/// One participant of the room.
pub(crate) struct Stranger {
    scene: Scene,
    summary: Summary,
}

/// A session of Janus with one handle of the plugin.
struct Session {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: u64,
    handle: u64,
    count: u64,
}

impl Stranger {
    /// Makes the participant with this number.
    pub(crate) fn new(scene: Scene, index: usize) -> Self {
        let summary = Summary {
            index,
            ..Summary::default()
        };
        Self { scene, summary }
    }

    /// Takes part until the run is over.
    pub(crate) async fn take_part(mut self) -> Summary {
        if let Err(error) = Box::pin(self.session()).await {
            self.summary.failure = Some(format!("{error:#}"));
        }
        self.summary
    }

    async fn session(&mut self) -> anyhow::Result<()> {
        let scene = self.scene.clone();
        let mut phase = scene.phase.clone();
        let url = scene.options.janus.as_deref().context("no Janus")?;
        let publishes = self.summary.index < scene.options.cameras();
        // A feed must be there before anybody subscribes to it.
        while !publishes && scene.connected() < scene.options.cameras() {
            if *phase.borrow() == Phase::Over {
                bail!("those who publish did not connect");
            }
            sleep(LOOK).await;
        }
        let mut session = timeout(PATIENCE, Session::begin(url)).await??;
        let address = match session.socket.get_ref() {
            MaybeTlsStream::Plain(stream) => stream.local_addr()?.ip(),
            _ => bail!("only plain connections are made here"),
        };
        let mut endpoint = Endpoint::new(transport::stranger(clock::now()), address)?;
        match publishes {
            true => timeout(PATIENCE, self.publish(&mut session, &mut endpoint)).await??,
            false => timeout(PATIENCE, self.subscribe(&mut session, &mut endpoint)).await??,
        }
        let mut alive = interval(SIGN_OF_LIFE);
        loop {
            tokio::select! {
                message = session.socket.next() => {
                    message.context("Janus ended the connection")??;
                }
                happened = endpoint.step() => match happened? {
                    Some(Happening::Connected) => {
                        scene.arrived();
                        // Whatever is published is wanted.
                        if let Some(player) = &mut endpoint.player {
                            player.set_wanted(true, &[true]);
                        }
                    }
                    Some(Happening::Lost) => bail!("the connection broke"),
                    None => {}
                },
                changed = phase.changed() => {
                    changed?;
                    let phase = *phase.borrow_and_update();
                    match phase {
                        Phase::Arriving => {}
                        Phase::Counting => drop(endpoint.begin_counting(clock::now())),
                        Phase::Over => break,
                    }
                }
                _ = alive.tick() => session.sign_of_life().await?,
            }
        }
        self.summary.tally = endpoint.tally(clock::now());
        Ok(())
    }

    async fn publish(
        &mut self,
        session: &mut Session,
        endpoint: &mut Endpoint,
    ) -> anyhow::Result<()> {
        let index = self.summary.index;
        let create = json!({
            "request": "create", "room": ROOM, "publishers": 1000, "bitrate": 0, "record": false, "fir_freq": 0,
            "audiocodec": "opus", "videocodec": "h264", "h264_profile": "42e01f",
            "transport_wide_cc_ext": true, "audiolevel_ext": true, "audiolevel_event": false, "notify_joining": false,
        });
        // Somebody else may have made it.
        session.ask(&create, None).await?;
        let join = json!({"request": "join", "ptype": "publisher", "room": ROOM, "id": FIRST_FEED + index as u64});
        session.ask_for(&join, None, "joined").await?;
        let mut change = endpoint.rtc.sdp_api();
        let sound = change.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
        let pictures = change.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
        let (offer, pending) = change.apply().context("nothing to offer")?;
        let offer = json!({"type": "offer", "sdp": offer.to_sdp_string(), "trickle": false});
        let answer = session
            .ask_for(&json!({"request": "publish"}), Some(&offer), "event")
            .await?;
        let answer = SdpAnswer::from_sdp_string(sdp(&answer)?)?;
        endpoint.rtc.sdp_api().accept_answer(pending, answer)?;
        let outlet = |rtc: &mut Rtc, mid, payload_type| -> anyhow::Result<Outlet> {
            let ssrc = rtc
                .direct_api()
                .stream_tx_by_mid(mid, None)
                .context("Janus takes less than was offered")?
                .ssrc();
            Ok(Outlet {
                mid,
                ssrc,
                payload_type: Pt::new_with_value(payload_type),
            })
        };
        endpoint.sound = Some(outlet(&mut endpoint.rtc, sound, PAYLOAD_TYPES.sound)?);
        endpoint.layers = vec![outlet(&mut endpoint.rtc, pictures, PAYLOAD_TYPES.pictures)?];
        let options = &self.scene.options;
        let turns = Turns {
            people: options.microphones(),
            voices: options.voices,
            index,
        };
        let phase = Duration::from_millis(index as u64 * 7 % 33);
        let player = Player::new(
            self.scene.recording.clone(),
            1,
            turns,
            !options.clean,
            0,
            clock::now() + phase,
        );
        endpoint.player = Some(player);
        endpoint.run()
    }

    async fn subscribe(
        &mut self,
        session: &mut Session,
        endpoint: &mut Endpoint,
    ) -> anyhow::Result<()> {
        let options = &self.scene.options;
        let cameras = options.cameras();
        let page = options.page.min(cameras);
        let feeds: Vec<Value> = (0..page)
            .map(|tile| (self.summary.index * options.page + tile) % cameras)
            .map(|index| json!({"feed": FIRST_FEED + index as u64}))
            .collect();
        self.summary.watched = page;
        let join =
            json!({"request": "join", "ptype": "subscriber", "room": ROOM, "streams": feeds});
        let offer = session.ask_for(&join, None, "attached").await?;
        let offer = sdp(&offer)?;
        endpoint.sound_types = (offer.lines())
            .filter_map(|line| {
                line.strip_prefix("a=rtpmap:")?
                    .split_once(" opus/")?
                    .0
                    .parse()
                    .ok()
            })
            .collect();
        let answer = endpoint
            .rtc
            .sdp_api()
            .accept_offer(SdpOffer::from_sdp_string(offer)?)?;
        let answer = json!({"type": "answer", "sdp": answer.to_sdp_string(), "trickle": false});
        session
            .ask_for(&json!({"request": "start"}), Some(&answer), "event")
            .await?;
        endpoint.run()
    }
}

impl Session {
    async fn begin(url: &str) -> anyhow::Result<Self> {
        let mut request = url.into_client_request()?;
        (request.headers_mut())
            .insert("Sec-WebSocket-Protocol", HeaderValue::from_static(PROTOCOL));
        let limits = Some(WebSocketConfig::default().read_buffer_size(READ_BUFFER));
        let (socket, _) = connect_async_with_config(request, limits, true).await?;
        let mut session = Self {
            socket,
            session: 0,
            handle: 0,
            count: 0,
        };
        session.session = session.made(json!({"janus": "create"})).await?;
        session.handle = session
            .made(json!({"janus": "attach", "plugin": "janus.plugin.videoroom"}))
            .await?;
        Ok(session)
    }

    /// Asks for something that has a number.
    async fn made(&mut self, request: Value) -> anyhow::Result<u64> {
        self.say(request).await?;
        let answer = self.answer().await?;
        answer["data"]["id"]
            .as_u64()
            .with_context(|| format!("Janus answers {answer}"))
    }

    async fn sign_of_life(&mut self) -> anyhow::Result<()> {
        self.say(json!({"janus": "keepalive"})).await
    }

    /// Asks the plugin; returns what it answers, an acknowledgement left out.
    async fn ask(&mut self, body: &Value, description: Option<&Value>) -> anyhow::Result<Value> {
        let mut message = json!({"janus": "message", "body": body});
        if let Some(description) = description {
            message["jsep"] = description.clone();
        }
        self.say(message).await?;
        self.answer().await
    }

    /// Asks the plugin, until it answers with this event.
    async fn ask_for(
        &mut self,
        body: &Value,
        description: Option<&Value>,
        event: &str,
    ) -> anyhow::Result<Value> {
        let mut answer = self.ask(body, description).await?;
        loop {
            let data = &answer["plugindata"]["data"];
            if data["error"].is_string() || answer["janus"] == "error" {
                bail!("Janus refuses: {answer}");
            }
            if data["videoroom"] == event {
                return Ok(answer);
            }
            answer = self.answer().await?;
        }
    }

    async fn say(&mut self, mut message: Value) -> anyhow::Result<()> {
        self.count += 1;
        message["transaction"] = self.count.to_string().into();
        if self.session != 0 {
            message["session_id"] = self.session.into();
        }
        if self.handle != 0 {
            message["handle_id"] = self.handle.into();
        }
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    async fn answer(&mut self) -> anyhow::Result<Value> {
        loop {
            let message = self
                .socket
                .next()
                .await
                .context("Janus ended the connection")??;
            let Message::Text(text) = message else {
                continue;
            };
            let message: Value = serde_json::from_str(text.as_str())?;
            if matches!(
                message["janus"].as_str(),
                Some("success" | "event" | "error")
            ) {
                return Ok(message);
            }
        }
    }
}

fn sdp(answer: &Value) -> anyhow::Result<&str> {
    (answer["jsep"]["sdp"].as_str()).with_context(|| format!("no description: {answer}"))
}
