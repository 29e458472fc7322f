//! Cameras, each on a thread of its own under a watch.
//!
//! A camera may hang in the driver, vanish in the middle of a picture, or belong to another
//! application. So its driver is called on a thread that may hang ([`device`]), and a second
//! thread ([`watch`]) tells what is wrong, tries again, and ends when it is told to.
//!
//! ```text
//! driver ─ camera device (may hang) ═▶ camera (watches, never hangs) ═▶ Latest<VideoFrame>
//! ```

mod choose;
mod device;
#[cfg(target_os = "linux")]
mod linux;
mod watch;

use super::capture::Outlet;

/// A camera as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraInfo {
    /// The name by which it is chosen.
    pub name: String,
}

/// Lists the cameras. May take a while: not for the window's thread.
pub fn cameras() -> Vec<CameraInfo> {
    device::list()
        .into_iter()
        .map(|found| CameraInfo { name: found.name })
        .collect()
}

/// Delivers the pictures of the camera with this name, or of the first, until the outlet's owner
/// is gone.
pub(super) fn run(outlet: Outlet, name: Option<&str>) {
    let name = name.map(str::to_owned);
    let wish = choose::Wish {
        size: outlet.max_size,
        fps: outlet.max_fps,
    };
    watch::watch(outlet, move || device::open(name.as_deref(), wish));
}
