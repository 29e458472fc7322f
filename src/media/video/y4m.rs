//! Raw pictures in a file: YUV4MPEG2, 4:2:0, eight bits.
//!
//! The format of <https://wiki.multimedia.cx/index.php/YUV4MPEG2>: a line of text that tells
//! size and rate, then each picture behind a line `FRAME`. Files come from anywhere: what the
//! header says is checked before anything is believed, and pictures are read one by one.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use crate::media::{Size, VideoFrame};

/// The longest line taken.
const LONGEST_LINE: u64 = 512;
/// The least and the most pixels a side may have.
const SIDES: std::ops::RangeInclusive<u32> = 16..=4096;
/// The rates taken, in pictures a second.
const RATES: std::ops::RangeInclusive<f64> = 1.0..=240.0;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Y4mError {
    /// The system could not read it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("not a y4m file")]
    NotY4m,
    /// Its pictures are of a kind that is not understood.
    #[error("colours are {0}, but only 4:2:0 with 8 bits (C420) is understood")]
    Colours(String),
    /// Its size is missing or not sensible.
    #[error("a picture size of {0} is not taken")]
    BadSize(Size),
    /// Its rate is not sensible.
    #[error("a rate of {0} pictures a second is not taken")]
    BadRate(String),
    /// It ends before the end of its first picture.
    #[error("there is no picture in it")]
    Empty,
}

/// How many pictures a second, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Pictures in `seconds`.
    pub pictures: u32,
    /// Seconds for `pictures`.
    pub seconds: u32,
}

impl Rate {
    /// Makes a rate of `pictures` a second.
    pub const fn of(pictures: u32) -> Self {
        Self {
            pictures,
            seconds: 1,
        }
    }

    /// Returns when picture `index` is due, counted from when picture 0 was.
    pub fn due(self, index: u64) -> Duration {
        let nanos = u128::from(index) * u128::from(self.seconds) * 1_000_000_000;
        let due = nanos / u128::from(self.pictures.max(1));
        Duration::from_nanos(u64::try_from(due).unwrap_or(u64::MAX))
    }

    fn per_second(self) -> f64 {
        f64::from(self.pictures) / f64::from(self.seconds)
    }
}

/// A file that is read picture by picture, and from the start again at its end.
#[derive(Debug)]
pub struct Y4mReader {
    file: BufReader<File>,
    /// Where the first picture begins.
    start: u64,
    /// The size in the file, whose sides may be odd.
    whole: Size,
    rate: Rate,
}

impl Y4mReader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// Fails if it cannot be read, is no y4m file, or holds pictures that are not understood.
    pub fn open(path: &Path) -> Result<Self, Y4mError> {
        let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
        let header = read_line(&mut file)?.ok_or(Y4mError::NotY4m)?;
        let (whole, rate) = parse_header(&header)?;
        let start = file.stream_position()?;
        Ok(Self {
            file,
            start,
            whole,
            rate,
        })
    }

    /// Returns the size of its pictures, cut to even sides.
    pub fn size(&self) -> Size {
        Size::new(self.whole.width & !1, self.whole.height & !1)
    }

    /// Returns how often its pictures are meant to be shown.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Reads the next picture, after the last one the first; stamps it `captured`.
    ///
    /// # Errors
    /// Fails if the file cannot be read, holds no whole picture, or something else between two.
    pub fn next_frame(&mut self, captured: Instant) -> Result<VideoFrame, Y4mError> {
        if let Some(frame) = self.picture(captured)? {
            return Ok(frame);
        }
        self.file.seek(SeekFrom::Start(self.start))?;
        self.picture(captured)?.ok_or(Y4mError::Empty)
    }

    /// Reads one picture; returns nothing at the end of the file, or where it was cut off.
    fn picture(&mut self, captured: Instant) -> Result<Option<VideoFrame>, Y4mError> {
        match read_line(&mut self.file)? {
            None => return Ok(None),
            Some(line) if line == "FRAME" || line.starts_with("FRAME ") => {}
            Some(_) => return Err(Y4mError::NotY4m),
        }
        let (wide, high) = (self.whole.width as usize, self.whole.height as usize);
        let (half_wide, half_high) = (wide.div_ceil(2), high.div_ceil(2));
        let mut raw = vec![0; wide * high + 2 * half_wide * half_high];
        match self.file.read_exact(&mut raw) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let size = self.size();
        if size != self.whole {
            let (luma, chroma) = raw.split_at(wide * high);
            let (u, v) = chroma.split_at(half_wide * half_high);
            let (width, height) = (size.width as usize, size.height as usize);
            let mut cut = Vec::with_capacity(VideoFrame::bytes_for(size));
            for (plane, stride, width, height) in [
                (luma, wide, width, height),
                (u, half_wide, width / 2, height / 2),
                (v, half_wide, width / 2, height / 2),
            ] {
                for row in plane.chunks_exact(stride).take(height) {
                    cut.extend_from_slice(&row[..width]);
                }
            }
            raw = cut;
        }
        Ok(Some(VideoFrame::new(size, raw, captured)))
    }
}

/// Reads a line without its end; returns nothing at the end of the file.
fn read_line(file: &mut impl BufRead) -> Result<Option<String>, Y4mError> {
    let mut line = Vec::new();
    file.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(Y4mError::NotY4m);
    }
    let line = String::from_utf8(line).map_err(|_| Y4mError::NotY4m)?;
    Ok(Some(line))
}

fn parse_header(header: &str) -> Result<(Size, Rate), Y4mError> {
    let mut words = header.split_ascii_whitespace();
    if words.next() != Some("YUV4MPEG2") {
        return Err(Y4mError::NotY4m);
    }
    let mut size = Size::new(0, 0);
    let mut rate = Rate::of(30);
    for word in words {
        let mut letters = word.chars();
        let (kind, value) = (letters.next(), letters.as_str());
        match kind {
            Some('W') => size.width = value.parse().unwrap_or(0),
            Some('H') => size.height = value.parse().unwrap_or(0),
            Some('F') => rate = parse_rate(value)?,
            Some('C') if !matches!(value, "420" | "420jpeg" | "420mpeg2" | "420paldv") => {
                return Err(Y4mError::Colours(value.to_owned()));
            }
            // Interlacing, the shape of pixels and comments change nothing here.
            _ => {}
        }
    }
    if SIDES.contains(&size.width) && SIDES.contains(&size.height) {
        Ok((size, rate))
    } else {
        Err(Y4mError::BadSize(size))
    }
}

fn parse_rate(text: &str) -> Result<Rate, Y4mError> {
    text.split_once(':')
        .and_then(|(pictures, seconds)| {
            Some(Rate {
                pictures: pictures.parse().ok()?,
                seconds: seconds.parse().ok().filter(|&seconds| seconds > 0)?,
            })
        })
        .filter(|rate| RATES.contains(&rate.per_second()))
        .ok_or_else(|| Y4mError::BadRate(text.to_owned()))
}

/// A file that pictures of one size are written to.
#[derive(Debug)]
pub struct Y4mWriter {
    file: BufWriter<File>,
    size: Size,
}

impl Y4mWriter {
    /// Starts the file with its header.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub fn new(file: File, size: Size, rate: Rate) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 18, file);
        let (Size { width, height }, Rate { pictures, seconds }) = (size, rate);
        writeln!(
            file,
            "YUV4MPEG2 W{width} H{height} F{pictures}:{seconds} Ip A1:1 C420mpeg2"
        )?;
        Ok(Self { file, size })
    }

    /// Returns the size of its pictures.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Appends a picture.
    ///
    /// # Errors
    /// Fails if the picture has another size, or the file cannot be written.
    pub fn write(&mut self, frame: &VideoFrame) -> io::Result<()> {
        if frame.size() != self.size {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file.write_all(b"FRAME\n")?;
        self.file.write_all(frame.planes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, media::video::test_card};

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn open(bytes: &[u8]) -> Result<Y4mReader, Y4mError> {
        Y4mReader::open(file(bytes).path())
    }

    #[test]
    fn what_was_written_is_read_again_and_again() {
        let size = Size::new(320, 180);
        let target = tempfile::NamedTempFile::new().unwrap();
        let mut card = test_card::TestCard::new(size);
        let rate = Rate {
            pictures: 30_000,
            seconds: 1_001,
        };
        let mut writer = Y4mWriter::new(target.reopen().unwrap(), size, rate).unwrap();
        for counter in 0..3 {
            let frame = card.draw(counter, Duration::ZERO, clock::now());
            writer.write(&frame).unwrap();
        }
        drop(writer);
        let mut reader = Y4mReader::open(target.path()).unwrap();
        assert_eq!((reader.size(), reader.rate()), (size, rate));
        for counter in [0, 1, 2, 0, 1, 2, 0] {
            let frame = reader.next_frame(clock::now()).unwrap();
            assert_eq!(test_card::read_counter(&frame), Some(counter));
        }
    }

    #[test]
    fn odd_sides_are_cut_and_a_torn_end_is_left_out() {
        let mut bytes = b"YUV4MPEG2 W17 H19 F25:1\nFRAME Xx\n".to_vec();
        let luma = (0..19).flat_map(|y| (0..17).map(move |x| x + 10 * (y % 2)));
        bytes.extend(luma);
        bytes.extend([100; 90]);
        bytes.extend([200; 90]);
        bytes.extend(b"FRAME\n torn");
        let file = file(&bytes);
        let mut reader = Y4mReader::open(file.path()).unwrap();
        for _ in 0..3 {
            let frame = reader.next_frame(clock::now()).unwrap();
            assert_eq!(frame.size(), Size::new(16, 18));
            assert_eq!(frame.y()[..16], (0..16).collect::<Vec<u8>>());
            assert_eq!(frame.y()[16..18], [10, 11]);
            assert_eq!((frame.u(), frame.v()), (&[100; 72][..], &[200; 72][..]));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_reason() {
        let refusal = |bytes: &[u8]| open(bytes).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refusal(b"RIFF....WAVE"), "not a y4m file");
        assert_eq!(refusal(b""), "not a y4m file");
        assert_eq!(refusal(&[b'Y'; 5_000]), "not a y4m file");
        assert_eq!(refusal(b"YUV4MPEG2 W\xff\n"), "not a y4m file");
        let colours = refusal(b"YUV4MPEG2 W64 H64 C444\n");
        assert!(colours.contains("444") && colours.contains("4:2:0"));
        assert!(refusal(b"YUV4MPEG2 W64 H64 C420p10\n").contains("420p10"));
        assert!(refusal(b"YUV4MPEG2 W99999999 H64\n").contains("99999999x64"));
        assert!(refusal(b"YUV4MPEG2 W64 H-4\n").contains("64x0"));
        for rate in ["0:0", "1:0", "0:1", "9999:1", "30", "-1:1"] {
            let header = format!("YUV4MPEG2 W64 H64 F{rate}\n");
            assert!(refusal(header.as_bytes()).contains(rate), "{rate}");
        }
        let mut empty = open(b"YUV4MPEG2 W64 H64\nFRAME\n").unwrap();
        let none = empty.next_frame(clock::now());
        assert!(matches!(none, Err(Y4mError::Empty)));
        let mut strange = open(b"YUV4MPEG2 W64 H64\nNOISE\n").unwrap();
        let none = strange.next_frame(clock::now());
        assert!(matches!(none, Err(Y4mError::NotY4m)));
    }
}
