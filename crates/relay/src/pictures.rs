//! Somebody's pictures: the layers that come in, and the streams to those who watch them.

use std::time::{Duration, Instant};

use nonstop_rate::Bitrate;

use crate::{
    Forward, MAX_LAYERS, Member, PicturePacket, Size,
    allotment::{Bid, STEPS, whole},
    layer::{Kind, Layer},
    stream::{Meanwhile, Share, Stream},
};

/// A layer fills a tile that is larger by this factor: a tenth of sharpness is not worth another layer.
const NEARLY: f64 = 1.1;

/// A wanted layer is silent if in the last second no picture of it came but so many of a smaller one; not
/// in the first moments after it was wanted.
const LIVELY: u32 = 5;
const STARTING: Duration = Duration::from_millis(1_500);

/// No packet is later than this.
const LATE: Duration = Duration::from_secs(2);

/// No stream to a seat.
const NONE: u16 = u16::MAX;

/// The pictures of one publisher.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    layers: Vec<Layer>,
    /// One for everybody who ever watched, so that its numbers go on.
    streams: Vec<Stream>,
    /// The stream to each seat.
    of_seat: Vec<u16>,
    /// The streams to which packets of each layer matter.
    listening: [Vec<u16>; MAX_LAYERS],
    /// When what was sent to those who do not watch any more is forgotten.
    tidy_at: Option<Instant>,
}

/// What a packet changed besides being passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changed {
    /// A receiver's layer.
    pub(crate) layers: bool,
    /// A receiver waits for a keyframe that has just gone by.
    pub(crate) missed: bool,
}

impl Pictures {
    /// Whether there are any.
    pub(crate) fn published(&self) -> bool {
        !self.layers.is_empty()
    }

    pub(crate) fn layers(&mut self) -> &mut [Layer] {
        &mut self.layers
    }

    /// Replaces the layers; those that go on keep what is known of them.
    pub(crate) fn publish(&mut self, sizes: &[Size]) {
        let sizes = &sizes[..sizes.len().min(MAX_LAYERS)];
        self.layers.truncate(sizes.len());
        for (index, size) in sizes.iter().enumerate() {
            match self.layers.get_mut(index) {
                Some(layer) => layer.size = *size,
                None => self.layers.push(Layer::new(*size)),
            }
        }
        let layers = self.layers.len();
        let gone = |layer: u8| usize::from(layer) >= layers;
        for stream in &mut self.streams {
            if stream.layer().is_some_and(gone) {
                stream.cut();
            }
            if stream.target().is_some_and(|target| gone(target.layer)) {
                stream.aim(None, Meanwhile::Nothing);
            }
            stream.hoped.take_if(|layer| gone(*layer));
        }
        self.relist();
    }

    /// Says that the layers are new streams of the sender.
    pub(crate) fn restart(&mut self) {
        for layer in &mut self.layers {
            layer.restart();
        }
        self.streams.iter_mut().for_each(Stream::cut);
        self.relist();
    }

    /// Takes in a packet of a layer, and appends to `out` who gets it.
    pub(crate) fn pass(
        &mut self,
        index: u8,
        packet: &PicturePacket,
        now: Instant,
        out: &mut Vec<Forward>,
    ) -> Changed {
        let mut changed = Changed::default();
        let Some(layer) = self.layers.get_mut(usize::from(index)) else {
            return changed;
        };
        let Some(arrival) = layer.take(packet, now) else {
            return changed;
        };
        let Kind::Next(next) = arrival.kind else {
            // Rare, and it may belong to a layer that a receiver has left by now.
            let passed = self.streams.iter_mut().filter_map(|stream| {
                let passed = stream.pass(index, &arrival)?;
                Some((stream.to, passed))
            });
            out.extend(passed.map(|(to, passed)| Forward {
                to,
                sequence: passed.number,
                marker: packet.marker,
                restart: false,
            }));
            return changed;
        };
        for stream in &self.listening[usize::from(index)] {
            let stream = &mut self.streams[usize::from(*stream)];
            let before = stream.layer();
            if let Some(passed) = stream.pass(index, &arrival) {
                out.push(Forward {
                    to: stream.to,
                    sequence: passed.number,
                    marker: packet.marker,
                    restart: passed.restart,
                });
            }
            changed.layers |= stream.layer() != before;
        }
        if changed.layers {
            self.relist();
        }
        if arrival.marking.independent && next.begins || next.apart {
            let mut streams = self.streams.iter();
            changed.missed = streams.any(|stream| stream.awaited() == Some(index));
        }
        changed
    }

    /// Returns what each step of passing on these pictures takes, for a tile of this size.
    pub(crate) fn bid(&mut self, tile: Size, now: Instant) -> Bid {
        let mut bid = Bid::default();
        let mut cost = Bitrate::ZERO;
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let rates = layer.rates(now);
            for (half, rate) in [rates.base, rates.all].into_iter().enumerate() {
                cost = cost.max(rate);
                bid.costs[2 * index + half] = cost;
            }
        }
        for beyond in 2 * self.layers.len()..STEPS {
            bid.costs[beyond] = cost;
        }
        if let Some(last) = self.layers.len().checked_sub(1) {
            let filling = self.layers.iter().position(|layer| fills(layer.size, tile));
            bid.most = whole(filling.unwrap_or(last) as u8);
        }
        bid
    }

    /// Decides what of a layer goes on until a smaller one begins, by the bandwidth that is left.
    pub(crate) fn meanwhile(
        &mut self,
        layer: u8,
        upper: bool,
        left: &mut Bitrate,
        now: Instant,
    ) -> Meanwhile {
        let Some(layer) = self.layers.get_mut(usize::from(layer)) else {
            return Meanwhile::Nothing;
        };
        let rates = layer.rates(now);
        let all = if upper { rates.all } else { rates.base };
        let (meanwhile, cost) = match *left {
            left if all <= left => (Meanwhile::All, all),
            left if rates.base <= left => (Meanwhile::Base, rates.base),
            _ => (Meanwhile::Nothing, Bitrate::ZERO),
        };
        *left = left.saturating_sub(cost);
        meanwhile
    }

    /// Returns this layer, or the largest below it that comes in where this one has fallen silent.
    pub(crate) fn flowing(&mut self, layer: u8, now: Instant) -> u8 {
        let index = usize::from(layer);
        if !self.is_silent(index, now) {
            return layer;
        }
        let mut smaller = self.layers[..index].iter_mut();
        let lively = smaller.rposition(|layer| layer.pictures(now) >= LIVELY);
        lively.map_or(layer, |index| index as u8)
    }

    /// Aims the stream to a seat. Returns whether that changes which layers matter.
    pub(crate) fn aim(
        &mut self,
        seat: usize,
        target: Option<Share>,
        hoped: Option<u8>,
        meanwhile: Meanwhile,
    ) -> bool {
        let Some(stream) = self.stream(seat) else {
            return false;
        };
        let before = stream.target().map(|target| target.layer);
        let changed = before != target.map(|target| target.layer) || stream.hoped != hoped;
        stream.hoped = hoped;
        stream.aim(target, meanwhile);
        if changed {
            self.relist();
        }
        changed
    }

    /// Returns the stream to a seat, if it ever watched.
    pub(crate) fn stream(&mut self, seat: usize) -> Option<&mut Stream> {
        let index = *self.of_seat.get(seat)?;
        self.streams.get_mut(usize::from(index))
    }

    /// Returns the stream to a seat, which begins at the number `first` if it is new.
    pub(crate) fn stream_to(&mut self, to: Member, seat: usize, first: u64) -> &mut Stream {
        if self.of_seat.len() <= seat {
            self.of_seat.resize(seat + 1, NONE);
        }
        if self.of_seat[seat] == NONE {
            self.of_seat[seat] = self.streams.len() as u16;
            self.streams.push(Stream::new(to, seat, first));
        }
        &mut self.streams[usize::from(self.of_seat[seat])]
    }

    /// Says that a seat does not watch any more.
    pub(crate) fn leave(&mut self, seat: usize, now: Instant) {
        if let Some(stream) = self.stream(seat) {
            stream.leave();
            self.relist();
            self.tidy_at.get_or_insert(now + LATE);
        }
    }

    /// Forgets what was sent long ago to those who do not watch any more.
    pub(crate) fn tidy(&mut self, now: Instant) {
        if self.tidy_at.take_if(|at| *at <= now).is_some() {
            let streams = self.streams.iter_mut();
            let more = streams
                .filter_map(|stream| stream.tidy().then_some(()))
                .count()
                > 0;
            self.tidy_at = more.then(|| now + LATE);
        }
    }

    /// Forgets a seat: whoever takes it next begins anew.
    pub(crate) fn remove(&mut self, seat: usize) {
        let Some(index) = self
            .of_seat
            .get(seat)
            .copied()
            .filter(|index| *index != NONE)
        else {
            return;
        };
        self.of_seat[seat] = NONE;
        self.streams.swap_remove(usize::from(index));
        if let Some(moved) = self.streams.get(usize::from(index)) {
            self.of_seat[moved.seat] = index;
        }
        self.relist();
    }

    /// Returns for each layer whether anybody is given it, or is about to be. Where a layer has fallen
    /// silent, the smallest is used as well: the sender may have too little for the larger one.
    pub(crate) fn used(&mut self, now: Instant) -> [bool; MAX_LAYERS] {
        let mut used = [false; MAX_LAYERS];
        for stream in &self.streams {
            let Some(target) = stream.target() else {
                continue;
            };
            let layers = [stream.layer(), Some(target.layer), stream.hoped];
            for layer in layers.into_iter().flatten() {
                used[usize::from(layer)] = true;
            }
        }
        used[0] |= (1..self.layers.len()).any(|layer| used[layer] && self.is_silent(layer, now));
        used
    }

    /// Returns for each layer whether somebody waits for a keyframe of it.
    pub(crate) fn awaited(&self) -> [bool; MAX_LAYERS] {
        let mut awaited = [false; MAX_LAYERS];
        for layer in self.streams.iter().filter_map(Stream::awaited) {
            awaited[usize::from(layer)] = true;
        }
        awaited
    }

    /// Finds anew to whom packets of each layer matter.
    pub(crate) fn relist(&mut self) {
        for (layer, listening) in self.listening.iter_mut().enumerate() {
            listening.clear();
            let streams = self.streams.iter().enumerate();
            let listens = streams.filter(|(_, stream)| stream.listens(layer as u8));
            listening.extend(listens.map(|(index, _)| index as u16));
        }
    }
}

impl Pictures {
    fn is_silent(&mut self, layer: usize, now: Instant) -> bool {
        let Some(layer) = self.layers.get_mut(layer) else {
            return false;
        };
        layer.demand.wanted_for(STARTING, now) && layer.pictures(now) == 0
    }
}

/// Whether a layer is as large as a tile in which it is shown whole, or nearly so.
fn fills(layer: Size, tile: Size) -> bool {
    f64::from(layer.width) * NEARLY >= f64::from(tile.width)
        || f64::from(layer.height) * NEARLY >= f64::from(tile.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_fills_a_tile_in_which_it_is_shown_whole() {
        let layer = Size {
            width: 640,
            height: 360,
        };
        let tile = |width, height| Size { width, height };
        assert!(fills(layer, tile(640, 360)));
        assert!(fills(layer, tile(700, 390)), "nearly");
        assert!(!fills(layer, tile(720, 400)));
        assert!(fills(layer, tile(2000, 300)), "wide tiles have borders");
    }
}
