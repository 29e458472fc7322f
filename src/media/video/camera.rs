//! Cameras.

use super::capture::Outlet;
use crate::media::DeviceTrouble;

/// A camera as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraInfo {
    /// The name by which it is chosen.
    pub name: String,
}

/// Lists the cameras. May take a while: not for the window's thread.
pub fn cameras() -> Vec<CameraInfo> {
    Vec::new()
}

/// Delivers the pictures of the camera with this name, or of the first.
pub(super) fn run(mut outlet: Outlet, _name: Option<&str>) {
    outlet.failed(DeviceTrouble::Missing);
}
