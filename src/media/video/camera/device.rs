//! One camera, through nokhwa.
//!
//! What nokhwa leaves to its caller is done here: formats are chosen by us, errors that exist only
//! as text become [`DeviceTrouble`], and its panics end here.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Once,
    time::Duration,
};

use nokhwa::{
    Camera, NokhwaError,
    utils::{
        ApiBackend, CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType,
        Resolution,
    },
};

use super::{
    choose::{Format, Wish, best_first},
    watch::Device,
};
use crate::{
    clock,
    media::{
        DeviceTrouble, Size, VideoFrame,
        video::convert::{Packing, to_i420},
    },
};

/// The packings that are understood.
const PACKINGS: [FrameFormat; 3] = [FrameFormat::NV12, FrameFormat::YUYV, FrameFormat::MJPEG];
/// A driver's time stamp that is older than this counts from something else.
const OLDEST: Duration = Duration::from_secs(1);
/// Damaged pictures in a row before the camera counts as broken; single ones are common on USB.
const MOST_DAMAGED: u32 = 30;

/// A camera that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) name: String,
    index: CameraIndex,
}

/// Lists the cameras, each name once.
pub(super) fn list() -> Vec<Found> {
    static START: Once = Once::new();
    // Asks for permission where the system wants that; does nothing elsewhere.
    START.call_once(|| nokhwa::nokhwa_initialize(|_| {}));
    let queried = panic::catch_unwind(|| nokhwa::query(ApiBackend::Auto));
    let mut cameras = match queried {
        Ok(Ok(cameras)) => cameras,
        Ok(Err(error)) => {
            tracing::warn!(%error, "cameras cannot be listed");
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    #[cfg(target_os = "linux")]
    cameras.retain(|camera| {
        let index = camera.index().as_index();
        index.is_ok_and(|index| super::linux::captures(index as usize))
    });
    cameras.sort_by_key(|camera| camera.index().as_index().unwrap_or(u32::MAX));
    let mut found: Vec<Found> = Vec::new();
    for camera in cameras {
        let name = camera.human_name();
        if found.iter().all(|other| other.name != name) {
            let index = camera.index().clone();
            found.push(Found { name, index });
        }
    }
    found
}

/// Opens the camera with this name, or the first, in the format that suits `wish` best.
///
/// # Errors
/// Fails with what a person can do something about.
pub(super) fn open(name: Option<&str>, wish: Wish) -> Result<Box<dyn Device>, DeviceTrouble> {
    let found = list()
        .into_iter()
        .find(|found| name.is_none_or(|name| found.name == name))
        .ok_or(DeviceTrouble::Missing)?;
    let opened = panic::catch_unwind(|| Stream::open(found, wish));
    match opened {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(trouble(&error)),
        Err(_) => Err(DeviceTrouble::Other("the camera's driver failed".into())),
    }
}

/// An open camera.
struct Stream {
    name: String,
    /// `None` only while it is being dropped.
    camera: Option<Camera>,
    damaged: u32,
}

impl Stream {
    fn open(found: Found, wish: Wish) -> Result<Self, NokhwaError> {
        // nokhwa fails on a camera that another program left in a format it does not know.
        #[cfg(target_os = "linux")]
        let request = match super::linux::settle(found.index.as_index()? as usize) {
            Ok(Some(format)) => RequestedFormatType::Exact(from_ours(format)),
            Ok(None) => RequestedFormatType::None,
            Err(error) => return Err(NokhwaError::OpenStreamError(error.to_string())),
        };
        #[cfg(not(target_os = "linux"))]
        let request = RequestedFormatType::None;
        let request = RequestedFormat::with_formats(request, &PACKINGS);
        let mut stream = Self {
            camera: Some(Camera::new(found.index, request)?),
            name: found.name,
            damaged: 0,
        };
        let camera = stream.camera()?;
        let offered = camera.compatible_camera_formats()?;
        let formats = offered.into_iter().filter_map(to_ours).collect();
        let mut refusal = None;
        // A driver may list what it then refuses, or sets differently.
        for format in best_first(formats, wish).into_iter().take(5) {
            let exactly = RequestedFormatType::Exact(from_ours(format));
            match camera.set_camera_requset(RequestedFormat::with_formats(exactly, &PACKINGS)) {
                Ok(_) => {
                    refusal = None;
                    tracing::debug!(?format, "camera format");
                    break;
                }
                Err(error) => refusal = Some(error),
            }
        }
        if let Some(error) = refusal {
            return Err(error);
        }
        camera.open_stream()?;
        Ok(stream)
    }

    fn camera(&mut self) -> Result<&mut Camera, NokhwaError> {
        self.camera.as_mut().ok_or(NokhwaError::UnitializedError)
    }

    fn try_picture(&mut self) -> Result<Option<VideoFrame>, NokhwaError> {
        let buffer = self.camera()?.frame()?;
        let now = clock::now();
        let age = buffer
            .capture_timestamp()
            .and_then(|stamp| clock::unix_time().checked_sub(stamp))
            .filter(|age| *age < OLDEST)
            .unwrap_or_default();
        let captured = now.checked_sub(age).unwrap_or(now);
        let size = buffer.resolution();
        let size = Size::new(size.width(), size.height());
        let packing = packing(buffer.source_frame_format()).ok_or(NokhwaError::GeneralError(
            "the camera changed its format".to_owned(),
        ))?;
        match to_i420(packing, size, buffer.buffer(), captured) {
            Ok(frame) => {
                self.damaged = 0;
                Ok(Some(frame))
            }
            Err(error) if self.damaged < MOST_DAMAGED => {
                self.damaged += 1;
                tracing::debug!(%error, "a picture from the camera is left out");
                Ok(None)
            }
            Err(error) => Err(NokhwaError::ReadFrameError(error.to_string())),
        }
    }
}

impl Device for Stream {
    fn name(&self) -> &str {
        &self.name
    }

    fn picture(&mut self) -> Result<VideoFrame, DeviceTrouble> {
        loop {
            let taken = panic::catch_unwind(AssertUnwindSafe(|| self.try_picture()));
            match taken {
                Ok(Ok(Some(frame))) => return Ok(frame),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Err(trouble(&error)),
                Err(_) => return Err(DeviceTrouble::Other("the camera's driver failed".into())),
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // nokhwa panics where the driver refuses to stop, as it may after an unplug.
        let camera = self.camera.take();
        if panic::catch_unwind(AssertUnwindSafe(|| drop(camera))).is_err() {
            tracing::debug!("the camera did not stop properly");
        }
    }
}

fn packing(format: FrameFormat) -> Option<Packing> {
    match format {
        FrameFormat::YUYV => Some(Packing::Yuyv),
        FrameFormat::NV12 => Some(Packing::Nv12),
        FrameFormat::MJPEG => Some(Packing::Mjpeg),
        _ => None,
    }
}

fn to_ours(format: CameraFormat) -> Option<Format> {
    Some(Format {
        size: Size::new(format.width(), format.height()),
        fps: format.frame_rate(),
        packing: packing(format.format())?,
    })
}

fn from_ours(format: Format) -> CameraFormat {
    let packing = match format.packing {
        Packing::Yuyv => FrameFormat::YUYV,
        Packing::Nv12 => FrameFormat::NV12,
        Packing::Mjpeg => FrameFormat::MJPEG,
    };
    let size = Resolution::new(format.size.width, format.size.height);
    CameraFormat::new(size, packing, format.fps)
}

/// Reads what is wrong out of an error's text, the only place where it is.
fn trouble(error: &NokhwaError) -> DeviceTrouble {
    let text = error.to_string();
    let code = text
        .rsplit_once("(os error ")
        .and_then(|(_, code)| code.split_once(')')?.0.parse().ok());
    match code {
        // EPERM, EACCES
        Some(1 | 13) => DeviceTrouble::NotPermitted,
        // ENOENT
        Some(2) => DeviceTrouble::Missing,
        // EIO (as USB devices that are pulled out also answer), ENXIO, ENODEV
        Some(5 | 6 | 19) => DeviceTrouble::Unplugged,
        // EBUSY
        Some(16) => DeviceTrouble::Busy,
        _ => DeviceTrouble::Other(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_in_error_texts_are_understood() {
        let cause = |text: &str| trouble(&NokhwaError::ReadFrameError(text.to_owned()));
        let busy = "V4L2 Error: Device or resource busy (os error 16)";
        assert_eq!(cause(busy), DeviceTrouble::Busy);
        assert_eq!(
            cause("No such device (os error 19)"),
            DeviceTrouble::Unplugged
        );
        assert_eq!(
            cause("Permission denied (os error 13)"),
            DeviceTrouble::NotPermitted
        );
        assert_eq!(cause("gone (os error 2): more"), DeviceTrouble::Missing);
        for text in ["(os error", "(os error x)", "(os error 99)", ""] {
            assert!(matches!(cause(text), DeviceTrouble::Other(_)), "{text}");
        }
    }
}
