//! The few Linux calls the link needs, and the only unsafe code of this program.
#![expect(
    unsafe_code,
    reason = "TUN devices, namespaces and real-time priority have no safe interface in the standard library"
)]

use std::{
    ffi::CString,
    fs::File,
    io::{Error, Result},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixDatagram,
    },
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

static STOP: AtomicBool = AtomicBool::new(false);

/// Packets that a TUN device keeps for this process: room for bursts, for the bottleneck's
/// queue lives here and not in the kernel.
const DEVICE_QUEUE: i32 = 4_000;

extern "C" fn on_signal(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// Tells whether the process was asked to end.
pub(crate) fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Asks the process to end.
pub(crate) fn stop() {
    STOP.store(true, Ordering::Relaxed);
}

fn check(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn enter(namespace: &File) -> Result<()> {
    // SAFETY: setns takes a descriptor that is open here and touches no memory of ours.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
    Ok(())
}

/// Opens TUN device `device` inside the named network namespace and sets it up.
/// The name `-` means the current namespace.
pub(crate) fn open_tun(namespace: &str, device: &str) -> Result<File> {
    let home = File::open("/proc/self/ns/net")?;
    if namespace != "-" {
        enter(&File::open(format!("/run/netns/{namespace}"))?)?;
    }
    let opened = open_tun_here(device);
    enter(&home)?;
    opened
}

fn open_tun_here(device: &str) -> Result<File> {
    let tun = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let name = CString::new(device)?;
    let bytes = name.as_bytes_with_nul();
    if bytes.len() > libc::IFNAMSIZ {
        return Err(Error::other("the name of the device is too long"));
    }
    // SAFETY: ifreq is a plain C structure for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open, and TUNSETIFF reads and writes one ifreq, which is ours.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, &mut request) })?;
    // SAFETY: changing the flags of an open descriptor touches no memory of ours.
    check(unsafe { libc::fcntl(tun.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    // SAFETY: socket takes plain numbers; its result is checked.
    let socket = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let ask = |request: &mut libc::ifreq, what| {
        // SAFETY: the descriptor is open, and each of these requests reads and writes one ifreq.
        check(unsafe { libc::ioctl(socket.as_raw_fd(), what, request) })
    };
    request.ifr_ifru.ifru_metric = DEVICE_QUEUE;
    if ask(&mut request, libc::SIOCSIFTXQLEN as _).is_err() {
        // Only the system's own root may by this call; `ip link` can in a namespace of a user.
        eprintln!("wan: {device} keeps its queue of packets");
    }
    ask(&mut request, libc::SIOCGIFFLAGS as _)?;
    // SAFETY: SIOCGIFFLAGS has just written this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    ask(&mut request, libc::SIOCSIFFLAGS as _)?;
    Ok(tun)
}

/// Sets up signals, the finest timers and, where the system allows, real-time priority.
pub(crate) fn tune(priority: i32) {
    let handler = on_signal as *const () as libc::sighandler_t;
    // SAFETY: the handler only stores into an atomic, which is allowed in a signal handler.
    unsafe {
        libc::signal(libc::SIGINT, handler);
        libc::signal(libc::SIGTERM, handler);
    }
    // SAFETY: this request takes one number and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
    if priority > 0 {
        // SAFETY: locking pages changes no contents.
        unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
        let wanted = libc::sched_param {
            sched_priority: priority,
        };
        // SAFETY: the call reads one sched_param that outlives it.
        if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &wanted) } < 0 {
            eprintln!("wan: no real-time priority: {}", Error::last_os_error());
        }
    }
}

/// Waits for a packet on either device, a control message, or `timeout`; tells which of the three
/// are ready.
pub(crate) fn wait(
    devices: &[File; 2],
    control: Option<&UnixDatagram>,
    timeout: Duration,
) -> [bool; 3] {
    let control: RawFd = control.map_or(-1, AsRawFd::as_raw_fd);
    let mut polled =
        [devices[0].as_raw_fd(), devices[1].as_raw_fd(), control].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the pointers are to three pollfd and one timespec that outlive the call; no signal
    // mask is given.
    unsafe { libc::ppoll(polled.as_mut_ptr(), 3, &timeout, std::ptr::null()) };
    polled.map(|one| one.revents & libc::POLLIN != 0)
}
