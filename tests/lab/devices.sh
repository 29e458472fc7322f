#!/usr/bin/env bash
# devices.sh: runs the device tests against a real V4L2 camera (vivid) and a real ALSA sound card
# (snd-aloop) in the virtual machine of devices-vm.sh, unplugging and a busy camera included.
set -euo pipefail
cd "$(dirname "$0")/../.."

binary() { # TEST: builds it, prints where it is
  cargo test --test "$1" --no-run --message-format json 2>/dev/null |
    grep "\"kind\":\[\"test\"\].*\"name\":\"$1\"" |
    grep -o '"executable":"[^"]*"' | cut -d'"' -f4
}

driver=/sys/bus/platform/drivers/vivid
NONSTOP_CAMERA=1 \
  NONSTOP_UNPLUG="echo vivid.0 > $driver/unbind" NONSTOP_REPLUG="echo vivid.0 > $driver/bind" \
  tests/lab/devices-vm.sh --no-sound -- "$(binary devices_video)" --nocapture --test-threads=1
NONSTOP_DEVICES_VM=1 \
  tests/lab/devices-vm.sh --no-camera -- "$(binary devices_audio)" \
  --exact a_tone_goes_through_kernel_drivers --nocapture
