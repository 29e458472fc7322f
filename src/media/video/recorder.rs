//! Writes received pictures to a file.
//!
//! A y4m file has one size, that of the first picture; what comes in other sizes later is scaled
//! to it. Each picture is written once, when it is decoded, at a nominal 30 a second.

use std::{fs::File, io, path::PathBuf};

use super::{
    scale::Scaler,
    y4m::{Rate, Y4mWriter},
};
use crate::media::VideoFrame;

/// The rate in the file's header: that of the ladder's upper rungs.
const RATE: Rate = Rate::of(30);

/// A recording.
#[derive(Debug)]
pub(super) struct Recorder {
    file: Option<File>,
    writer: Option<Y4mWriter>,
    scaler: Scaler,
}

impl Recorder {
    /// Makes the file.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            file: Some(File::create(path)?),
            writer: None,
            scaler: Scaler::new(),
        })
    }

    /// Appends a picture.
    pub(super) fn write(&mut self, frame: &VideoFrame) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            self.writer = Some(Y4mWriter::new(file, frame.size(), RATE)?);
        }
        match &mut self.writer {
            Some(writer) => writer.write(&self.scaler.scale(frame, writer.size())),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}
