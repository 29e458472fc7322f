//! One webrtc-rs peer connection, set up our way.
