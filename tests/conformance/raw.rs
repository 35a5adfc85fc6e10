//! A network namespace of the test's own, and raw sockets on its interfaces.
#![allow(unsafe_code)] // No crate that the project uses has AF_PACKET sockets or unshare.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// Moves the calling thread, and the programs that it starts, to a new network namespace, which goes when they have ended.
pub fn new_namespace() -> io::Result<()> {
    // SAFETY: takes no pointers; changes the calling thread's namespace and nothing of the program's memory.
    done(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// What is done with timers of the calling thread, and of the programs that it starts there, that end up to `slack` late.
pub fn with_slack<T>(slack: Duration, run: impl FnOnce() -> T) -> io::Result<T> {
    let set = |slack: libc::c_ulong| {
        // SAFETY: takes no pointers; changes how late the calling thread's sleeps may end.
        done(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack) })
    };
    set(slack.as_nanos() as libc::c_ulong)?;
    let result = run();
    // 0: as it was when the thread began.
    set(0).map(|_| result)
}

/// All frames of an interface.
pub struct RawSocket(OwnedFd);

impl RawSocket {
    /// On an interface of the calling thread's namespace.
    pub fn open(interface: &str) -> io::Result<Self> {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // Of no protocol until it is bound, so that it hears of no other interface.
        // SAFETY: takes no pointers.
        let socket = done(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor is new, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let name = CString::new(interface)?;
        // SAFETY: the name ends with a zero and outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            sll_ifindex: index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the address is a whole `sockaddr_ll`, of the length stated.
        done(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
        let (on, length) = (1_i32, size_of::<i32>() as libc::socklen_t);
        // What it sends itself, it doesn't hear; tags that the kernel takes off, it tells.
        for option in [libc::PACKET_IGNORE_OUTGOING, libc::PACKET_AUXDATA] {
            // SAFETY: the value is an `i32`, of the length stated.
            done(unsafe {
                let value = (&raw const on).cast();
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, value, length)
            })?;
        }
        Ok(Self(socket))
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: reads the slice, of its length.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// A frame that has arrived, with its tag.
    pub fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = vec![0_u8; 16_384];
        let mut control = [0_u64; 8];
        let mut data = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        // SAFETY: all zeros are a message header without anything.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&raw mut data, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        // SAFETY: the header names the vector and the array, of their lengths, which outlive the call.
        let length = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        match usize::try_from(length) {
            Ok(length) => {
                frame.truncate(length);
                if let Some(tag) = tag(&message) {
                    frame.splice(12..12, tag);
                }
                Ok(Some(frame))
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error),
            },
        }
    }
}

/// The tag that the kernel took off a frame.
fn tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the kernel has filled the header and its control messages in.
    let first = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    if (first.cmsg_level, first.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: a message of this type has a `tpacket_auxdata`, maybe unaligned.
    let told = unsafe { libc::CMSG_DATA(first).cast::<libc::tpacket_auxdata>().read_unaligned() };
    let valid = told.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
    let [a, b] = told.tp_vlan_tpid.to_be_bytes();
    let [c, d] = told.tp_vlan_tci.to_be_bytes();
    valid.then_some([a, b, c, d])
}

fn done(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
