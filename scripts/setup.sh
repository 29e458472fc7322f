#!/usr/bin/env bash
# setup.sh [build] [test] [lab] [relay] [relay-peer]   installs the system packages that building,
#                                 testing, the lab, its cases with another relay and the comparison
#                                 with another forwarder of media need
# setup.sh has-display            succeeds where a window can be opened
#
# Says what is missing and why before it installs anything; does nothing, quickly, the second
# time. Uses sudo only where packages are missing and the user is not root.
set -euo pipefail

# package | why
build_packages='
build-essential|C and C++ compilers, for the codecs
cmake|builds the Opus codec
nasm|assembly of the H.264 codec: without it pictures cost several times the CPU
libclang-dev|reads the headers of the camera interface
libasound2-dev|sound devices
pkg-config|finds the libraries above
libxkbcommon-x11-0|keyboard input in the window
libx11-xcb1|the window on X11
libxcursor1|the mouse pointer on X11
libxi6|mouse and touch input on X11
libxrandr2|screen sizes on X11
libegl1|draws the window
libgl1|draws the window
libgl1-mesa-dri|draws the window
'
test_packages='
xvfb|a screen in memory, for the tests of the window
xdotool|presses keys in the real window, in tests
pulseaudio|a sound server without hardware, for the tests of the sound devices
pulseaudio-utils|talks to that sound server
'
lab_packages='
nftables|address translation and firewalls of the homes in the lab
iproute2|network namespaces, addresses and routes
iperf3|competing TCP flows
iputils-ping|round trips
conntrack|forgets what a translator remembered
openssl|certificates for the servers of the lab
procps|network settings inside a namespace
python3|runs the lab
util-linux|private namespaces without root
'

relay_packages='
coturn|another relay to call through, and a strange client for ours
'

relay_peer_packages='
janus|another forwarder of media, to measure ours beside it
'

has_display() {
  case "$(uname -s)" in
    Darwin | MINGW* | MSYS* | CYGWIN*) return 0 ;;
    *) [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] ;;
  esac
}

installed() { # package: whether it, or what newer releases call it, is there
  local name
  for name in "$1" "$1t64"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] && return 0
  done
  return 1
}

install_with_apt() { # list of "package|why"
  local package why missing=() sudo=()
  while IFS='|' read -r package why; do
    [ -n "$package" ] || continue
    installed "$package" && continue
    [ ${#missing[@]} -gt 0 ] || echo "Missing system packages:"
    printf '  %-20s %s\n' "$package" "$why"
    missing+=("$package")
  done <<<"$1"
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "Install them as root, then run this again:" >&2
      echo "  apt-get install ${missing[*]}" >&2
      return 1
    fi
    sudo=(sudo)
    echo "Installing them (sudo may ask for your password)."
  else
    echo "Installing them."
  fi
  local log
  log=$(mktemp)
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600)
  if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    rm -f "$log"
    echo "Installing failed; the last lines above say why." >&2
    return 1
  fi
  rm -f "$log"
  # The lab starts these itself; this computer is not to become a server.
  local service
  for service in coturn janus; do
    case " ${missing[*]} " in
      *" $service "*) "${sudo[@]}" systemctl disable --now "$service" >/dev/null 2>&1 || true ;;
    esac
  done
}

need_commands() { # on systems without apt: only look, and say what to do
  local command missing=()
  for command in cc cmake nasm pkg-config; do
    command -v "$command" >/dev/null || missing+=("$command")
  done
  [ ${#missing[@]} = 0 ] && return 0
  echo "Missing: ${missing[*]}. README.md lists the packages for this system." >&2
  return 1
}

need_rust() {
  command -v cargo >/dev/null && return 0
  echo "Rust is missing: install it with rustup (https://rustup.rs), then run this again." >&2
  return 1
}

if [ "${1:-build}" = has-display ]; then
  has_display
  exit
fi
need_rust
wanted=
for part in "${@:-build}"; do
  case $part in
    build) wanted+=$build_packages ;;
    test) wanted+=$test_packages ;;
    lab) wanted+=$lab_packages ;;
    relay) wanted+=$relay_packages ;;
    relay-peer) wanted+=$relay_peer_packages ;;
    *) echo "usage: setup.sh [build] [test] [lab] [relay] [relay-peer] | has-display" >&2; exit 2 ;;
  esac
done
if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
  install_with_apt "$wanted"
elif [ "$(uname -s)" = Darwin ] && command -v brew >/dev/null; then
  for formula in cmake nasm pkg-config; do
    brew list "$formula" >/dev/null 2>&1 || brew install "$formula"
  done
else
  need_commands
fi
