//! What a participant with a connection to the relay heard.

use std::{collections::HashMap, time::Instant};

use nonstop_relay::FrameMarking;
use nonstop_wire::{Published, RelayOpened, ServerMessage, Welcome};

use crate::client::id;

/// What came under one SSRC.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub(crate) packets: Vec<Packet>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) marking: Option<FrameMarking>,
    pub(crate) level: Option<i8>,
    /// Which packet of pictures it says to have left last.
    pub(crate) newest_picture: Option<u16>,
    /// Which layer it says in its payload to be.
    pub(crate) layer: u8,
    pub(crate) at: Instant,
}

/// What a participant heard so far.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) welcome: Option<Welcome>,
    pub(crate) messages: Vec<ServerMessage>,
    pub(crate) opened: Option<RelayOpened>,
    pub(crate) connected: bool,
    pub(crate) streams: HashMap<u32, Stream>,
    pub(crate) keyframes_asked: usize,
    pub(crate) reports: HashMap<u32, usize>,
    /// Datagrams of RTP: sound and pictures, repairs, probes and padding.
    pub(crate) media: usize,
    /// Packets of pictures that were lost on purpose.
    pub(crate) dropped: usize,
    /// Packets of pictures that were kept back, and that were sent after all, when last asked for any.
    pub(crate) withheld: usize,
    pub(crate) sent_late: usize,
}

impl Record {
    pub(crate) fn published(&self, of: u64) -> Option<Published> {
        let mut last = None;
        for message in &self.messages {
            match message {
                ServerMessage::Published(published) if published.participant == id(of) => {
                    last = Some(published.clone());
                }
                ServerMessage::Unpublished { participant } if *participant == id(of) => {
                    last = None;
                }
                _ => {}
            }
        }
        last
    }

    pub(crate) fn pictures(&self, of: u64) -> &[Packet] {
        let ssrc = self.published(of).map(|published| published.pictures_ssrc);
        let stream = ssrc.and_then(|ssrc| self.streams.get(&ssrc));
        stream.map_or(&[], |stream| &stream.packets)
    }

    pub(crate) fn sound(&self, of: u64) -> &[Packet] {
        let ssrc = self.published(of).map(|published| published.sound_ssrc);
        let stream = ssrc.and_then(|ssrc| self.streams.get(&ssrc));
        stream.map_or(&[], |stream| &stream.packets)
    }

    pub(crate) fn wanted(&self) -> Option<nonstop_wire::Wanted> {
        self.messages
            .iter()
            .rev()
            .find_map(|message| match message {
                ServerMessage::Wanted(wanted) => Some(wanted.clone()),
                _ => None,
            })
    }
}
