//! The sound devices of this computer: which there are, and opening one.
//!
//! The sound server (PulseAudio, or PipeWire in its stead) is preferred where one answers: it
//! mixes, converts and moves streams. Otherwise the system's own interface (ALSA on Linux).
//! Listing opens no device: with some drivers that takes seconds.

use cpal::{
    BufferSize, Device, ErrorKind, Host, SampleFormat, StreamConfig,
    traits::{DeviceTrait, HostTrait},
};

use crate::media::{DeviceTrouble, frame::SAMPLE_RATE};

/// The sound devices as lists show them. `default` is always understood besides these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioDevices {
    /// Names of microphones.
    pub microphones: Vec<String>,
    /// Names of speakers.
    pub speakers: Vec<String>,
}

/// Lists the sound devices. May take seconds: not for the window's thread.
pub fn devices() -> AudioDevices {
    let Some(host) = host() else {
        return AudioDevices::default();
    };
    AudioDevices {
        microphones: names(&host, Direction::Input),
        speakers: names(&host, Direction::Output),
    }
}

/// Which way sound goes through a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Input,
    Output,
}

/// How a device is asked to work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) config: StreamConfig,
    pub(super) samples: SampleFormat,
}

fn host() -> Option<Host> {
    cpal::ALL_HOSTS
        .iter()
        .find_map(|&id| cpal::host_from_id(id).ok())
}

fn all(host: &Host, direction: Direction) -> Vec<Device> {
    let found = match direction {
        Direction::Input => host.input_devices().map(Iterator::collect),
        Direction::Output => host.output_devices().map(Iterator::collect),
    };
    found.unwrap_or_else(|error| {
        tracing::warn!(%error, "sound devices cannot be listed");
        Vec::new()
    })
}

fn names(host: &Host, direction: Direction) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for device in chosen_from(host, &all(host, direction), direction) {
        let name = device.to_string();
        let name = if names.contains(&name) {
            id(device)
        } else {
            Some(name)
        };
        names.extend(name);
    }
    names
}

/// Keeps what a person would choose from.
fn chosen_from<'a>(host: &Host, devices: &'a [Device], direction: Direction) -> Vec<&'a Device> {
    let with = |test: &dyn Fn(&str) -> bool| {
        let wanted = |device: &&Device| id(device).is_some_and(|id| test(&id));
        devices.iter().filter(wanted).collect::<Vec<_>>()
    };
    if !is_alsa(host) {
        return with(&|id| direction == Direction::Output || !loops_back(id));
    }
    // ALSA lists each device under a dozen names, by its card's name and again by its number.
    let numbered = |card: &str| card.starts_with(|c: char| c.is_ascii_digit());
    let by_name = with(&|id| {
        id.strip_prefix(HARDWARE)
            .is_some_and(|card| !numbered(card))
    });
    if by_name.is_empty() {
        with(&|id| id.starts_with(HARDWARE))
    } else {
        by_name
    }
}

/// Tells whether this is what a speaker plays: sound servers offer that as a microphone too,
/// and make it the default where there is no other. It would send everybody their own voice.
fn loops_back(id: &str) -> bool {
    id.ends_with(".monitor")
}

/// ALSA's own name of a device with all conversions.
const HARDWARE: &str = "plughw:CARD=";

fn is_alsa(host: &Host) -> bool {
    host.id().name() == "ALSA"
}

/// Tells whether a sound server stands between us and the devices.
fn is_server(host: &Host) -> bool {
    host.id().name() == "PulseAudio"
}

fn id(device: &Device) -> Option<String> {
    device.id().ok().map(|id| id.id().to_owned())
}

/// A device, and the way back to where it was found.
pub(super) struct Found {
    host: Host,
    name: Option<String>,
    direction: Direction,
    pub(super) device: Device,
}

/// Finds the device with a name (as listed, or the system's own), or the default one.
pub(super) fn find(name: Option<&str>, direction: Direction) -> Result<Found, DeviceTrouble> {
    let host = host().ok_or(DeviceTrouble::Missing)?;
    let device = match (name, direction) {
        (Some(name), _) => named(&host, name, direction),
        (None, Direction::Input) => default_microphone(&host),
        (None, Direction::Output) => host.default_output_device(),
    };
    Ok(Found {
        device: device.ok_or(DeviceTrouble::Missing)?,
        name: name.map(str::to_owned),
        host,
        direction,
    })
}

fn default_microphone(host: &Host) -> Option<Device> {
    let real = |device: &Device| !id(device).is_some_and(|id| loops_back(&id));
    host.default_input_device().filter(real)
}

fn named(host: &Host, name: &str, direction: Direction) -> Option<Device> {
    let devices = all(host, direction);
    let chosen = chosen_from(host, &devices, direction);
    let by_name = chosen.into_iter().find(|device| device.to_string() == name);
    let by_id = || devices.iter().find(|d| id(d).as_deref() == Some(name));
    let by_any_name = || devices.iter().find(|device| device.to_string() == name);
    by_name.or_else(by_id).or_else(by_any_name).cloned()
}

impl Found {
    /// Returns the shortest callbacks worth asking for, in 48 kHz samples: 10 ms of a sound
    /// server, which holds more itself; 20 ms of a driver, as our threads have no privilege
    /// that would let them be in time for less.
    pub(super) fn shortest_period(&self) -> u32 {
        if is_alsa(&self.host) { 960 } else { 480 }
    }

    /// Tells whether the device is gone without an error: a sound server moves its stream to
    /// another device, which the person did not choose, or which is no microphone.
    pub(super) fn is_replaced(&self) -> bool {
        let there = match (&self.name, self.direction) {
            (Some(name), direction) => named(&self.host, name, direction).is_some(),
            (None, Direction::Input) => default_microphone(&self.host).is_some(),
            (None, Direction::Output) => true,
        };
        is_server(&self.host) && !there
    }
}

/// Returns the formats to try, best first: what needs no conversion here, then what nearly
/// every device can do, then what the device itself names.
pub(super) fn formats(device: &Device, direction: Direction) -> impl Iterator<Item = Format> {
    let channels = match direction {
        Direction::Input => [1, 2],
        Direction::Output => [2, 1],
    };
    let usual = channels.into_iter().flat_map(|channels| {
        [SampleFormat::F32, SampleFormat::I16].map(|samples| Format {
            config: StreamConfig {
                channels,
                sample_rate: SAMPLE_RATE,
                buffer_size: BufferSize::Default,
            },
            samples,
        })
    });
    // Asked last, and only then: it may take seconds.
    let own = std::iter::once_with(move || match direction {
        Direction::Input => device.default_input_config(),
        Direction::Output => device.default_output_config(),
    });
    let own = own.filter_map(Result::ok).map(|supported| Format {
        config: supported.config(),
        samples: supported.sample_format(),
    });
    usual.chain(own)
}

/// Puts a device's error in terms that a person can act on.
pub(super) fn trouble(error: &cpal::Error, was_open: bool) -> DeviceTrouble {
    match error.kind() {
        ErrorKind::DeviceBusy => DeviceTrouble::Busy,
        ErrorKind::PermissionDenied => DeviceTrouble::NotPermitted,
        ErrorKind::DeviceNotAvailable
        | ErrorKind::HostUnavailable
        | ErrorKind::StreamInvalidated => {
            if was_open {
                DeviceTrouble::Unplugged
            } else {
                DeviceTrouble::Missing
            }
        }
        _ => DeviceTrouble::Other(error.to_string()),
    }
}
