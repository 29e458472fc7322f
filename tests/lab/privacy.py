"""Namespaces of a lab's own: whether this system gives them, and how a program goes on inside.

What runs inside is seen by nobody outside, and ends with the program that began it.
"""
import ctypes
import os
import signal
import subprocess as sp
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# Exit status of what was skipped, as automake has it.
SKIPPED = 77
# prctl(2): the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1
TOOLS = {"ip": "iproute2", "nft": "nftables", "sysctl": "procps", "unshare": "util-linux"}


def find_wan():
    """The link program: $WAN, or what was built last."""
    if os.environ.get("WAN"):
        return os.environ["WAN"]
    target = os.environ.get("CARGO_TARGET_DIR", f"{ROOT}/target")
    built = [f"{target}/{profile}/nonstop-wan" for profile in ("release", "debug")]
    built = [path for path in built if os.path.exists(path)]
    return max(built, key=os.path.getmtime) if built else f"{target}/release/nonstop-wan"


WAN = find_wan()


def refusal():
    """Why no lab can be made here, or None."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    os.environ["PATH"] = path
    missing = [tool for tool in TOOLS if not any(os.access(f"{d}/{tool}", os.X_OK) for d in path.split(":"))]
    if missing:
        return "missing: " + ", ".join(f"{tool} (package {TOOLS[tool]})" for tool in missing)
    if not os.path.exists("/dev/net/tun"):
        return "this system has no TUN devices (/dev/net/tun)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun may not be opened by this user"
    if not os.access(WAN, os.X_OK):
        return f"{WAN} is not built (cargo build --release -p nonstop-wan)"
    return None


def unshare_command():
    """What starts a program in namespaces of its own, with everything in them ending with it."""
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    return command if os.geteuid() == 0 else command[:1] + ["--user", "--map-root-user"] + command[1:]


def refused():
    """Why no private lab can be made here, or None: tries what can only be tried."""
    why = refusal()
    if why or inside():
        return why
    tried = sp.run([*unshare_command(), "sh", "-c", "mount -t tmpfs tmpfs /run && ip netns add try && ip -n try tuntap add mode tun dev try"],
                   capture_output=True, text=True)
    if tried.returncode:
        return "the kernel refuses namespaces or TUN devices: " + (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
    return None


def inside():
    """Whether this process is the first of a private lab: its parent is outside."""
    return os.environ.get("LAB_PRIVATE") == "1" and os.getppid() == 0


def private(argv):
    """Continues this program in a private lab: returns inside it, or exits with what it did."""
    if inside():
        return enter_private()
    why = refused()
    if why:
        skip(why)
    # Whatever ends this process ends the lab: a lab without an owner would go on for ever.
    end_with_parent = ctypes.CDLL(None, use_errno=True)
    child = sp.Popen([*unshare_command(), sys.executable, *argv], env={**os.environ, "LAB_PRIVATE": "1"},
                     preexec_fn=lambda: end_with_parent.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    signal.signal(signal.SIGTERM, lambda *_: child.kill())
    # The one inside hears an interrupt too, and cleans up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(child.wait())


def enter_private():
    """Namespaces and sockets of this lab are seen by nobody else."""
    sp.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.makedirs("/run/netns", exist_ok=True)


def skip(why):
    print(f"lab: skipped: {why}", file=sys.stderr)
    sys.exit(SKIPPED)
