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
    for device in all(host, direction) {
        let Some(id) = listed(host, &device, direction) else {
            continue;
        };
        let name = device.to_string();
        if !names.contains(&name) {
            names.push(name);
        } else if !lists_twice(host) {
            names.push(id);
        }
    }
    names
}

/// The system's own name of a device that a person would choose; `None` for the many others.
fn listed(host: &Host, device: &Device, direction: Direction) -> Option<String> {
    let id = id(device)?;
    let hardware_once = id.starts_with("plughw:");
    let loops_back = direction == Direction::Input && id.ends_with(".monitor");
    let chosen = if lists_twice(host) {
        hardware_once
    } else {
        !loops_back
    };
    chosen.then_some(id)
}

/// ALSA lists each device under a dozen names; the others list each device once.
#[cfg(target_os = "linux")]
fn lists_twice(host: &Host) -> bool {
    host.id() == cpal::HostId::Alsa
}

#[cfg(not(target_os = "linux"))]
fn lists_twice(_host: &Host) -> bool {
    false
}

/// Tells whether a sound server stands between us and the devices.
#[cfg(target_os = "linux")]
fn is_server(host: &Host) -> bool {
    host.id() == cpal::HostId::PulseAudio
}

#[cfg(not(target_os = "linux"))]
fn is_server(_host: &Host) -> bool {
    false
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
        (None, Direction::Input) => host.default_input_device(),
        (None, Direction::Output) => host.default_output_device(),
    };
    Ok(Found {
        device: device.ok_or(DeviceTrouble::Missing)?,
        name: name.map(str::to_owned),
        host,
        direction,
    })
}

fn named(host: &Host, name: &str, direction: Direction) -> Option<Device> {
    let devices = all(host, direction);
    let listed =
        |device: &&Device| listed(host, device, direction).is_some() && device.to_string() == name;
    (devices.iter().find(listed))
        .or_else(|| devices.iter().find(|d| id(d).as_deref() == Some(name)))
        .or_else(|| devices.iter().find(|d| d.to_string() == name))
        .cloned()
}

impl Found {
    /// Tells whether a device that was chosen by name is gone without an error: a sound server
    /// moves its stream to another device, which the person did not choose.
    pub(super) fn is_replaced(&self) -> bool {
        let Some(name) = &self.name else {
            return false;
        };
        is_server(&self.host) && named(&self.host, name, self.direction).is_none()
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

/// Tells whether sound goes on in spite of this error.
pub(super) fn harmless(error: &cpal::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Xrun | ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged
    )
}
