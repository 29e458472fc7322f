//! Who is in a room, what they offer, and what they watch.

/// The most layers of pictures that a member publishes.
pub const MAX_LAYERS: usize = 3;

/// A member of a room: a number that the server gives, unique in the room. Somebody who left and comes
/// again under new SSRCs is a new member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(pub u32);

/// The size of a layer or of a tile, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Size {
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

impl Size {
    /// Returns how many pixels that is.
    pub const fn area(self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

/// What a member offers to send.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Publication {
    /// Whether there is sound.
    pub sound: bool,
    /// The sizes of the layers of pictures, the smallest first; what is beyond [`MAX_LAYERS`] is ignored.
    pub layers: Vec<Size>,
}

/// What a member takes in; replaces what was said before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watch {
    /// Whose pictures, and how large they are shown.
    pub pictures: Vec<(Member, Size)>,
    /// Whose sound not.
    pub deaf_to: Vec<Member>,
    /// Whether no sound at all.
    pub deaf: bool,
    /// Whether it misses packets of what the relay sends it.
    pub loses: bool,
}
