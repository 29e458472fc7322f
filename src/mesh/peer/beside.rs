//! The data channel beside the media: small messages about pictures, and sealed envelopes where
//! the meeting server does not carry them.
//!
//! Both sides open it under the same number, so that nobody has to announce it. What the other
//! side sends is text of theirs: what is no message is thrown away.

use std::sync::Arc;

use nonstop_wire::{BESIDE_VERSION, BesideMessage};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit},
    error::Result,
    peer_connection::PeerConnection,
};

const LABEL: &str = "nonstop";
const NUMBER: u16 = 0;
/// Bytes that may wait for the other side's acknowledgement; more are refused, and said again
/// when something changes. Two of the longest envelopes, or a dozen usual descriptions.
pub(super) const MOST_WAITING: usize = 128 * 1024;

/// Messages to and from the other side.
pub(crate) struct Beside {
    channel: Arc<dyn DataChannel>,
    open: bool,
    closed: bool,
}

/// What comes from the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BesideEvent {
    /// Messages can be sent from now on.
    Opened,
    /// The other side said something.
    Said(BesideMessage),
}

impl Beside {
    pub(super) async fn add(connection: &dyn PeerConnection) -> Result<Self> {
        let init = RTCDataChannelInit {
            negotiated: Some(NUMBER),
            ..RTCDataChannelInit::default()
        };
        Ok(Self {
            channel: connection.create_data_channel(LABEL, Some(init)).await?,
            open: false,
            closed: false,
        })
    }

    /// Waits for the next event; for ever once the channel is closed. May be given up at any time.
    pub(crate) async fn next(&mut self) -> BesideEvent {
        while !self.closed {
            match self.channel.poll().await {
                Some(DataChannelEvent::OnOpen) => {
                    self.open = true;
                    let version = BESIDE_VERSION;
                    self.say(BesideMessage::Hello { version }).await;
                    return BesideEvent::Opened;
                }
                Some(DataChannelEvent::OnMessage(message)) => {
                    match BesideMessage::decode(&message.data) {
                        Ok(message) => return BesideEvent::Said(message),
                        Err(error) => tracing::debug!(%error, "no message beside the media"),
                    }
                }
                Some(DataChannelEvent::OnClose) | None => {
                    self.open = false;
                    self.closed = true;
                }
                Some(_) => {}
            }
        }
        std::future::pending().await
    }

    /// Says something; returns false where it cannot be said now.
    pub(crate) async fn say(&self, message: BesideMessage) -> bool {
        if !self.open {
            return false;
        }
        match self.channel.try_send_text(&message.encode()).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a message beside the media is not sent");
                false
            }
        }
    }
}
