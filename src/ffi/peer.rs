//! Who is at the other end of a connection, and who users are.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use nginx_sys::{getpwnam, ngx_connection_t};
use rustix::net::{AddressFamily, getsockname, sockopt};

use crate::peer::Peer;

/// The peer of a connection, as the kernel knows it. `proxy_protocol` and `realip` change what NGINX
/// says of a client, not this.
///
/// # Safety
/// The connection is a request's, with an open socket.
pub(crate) unsafe fn peer_of(connection: *mut ngx_connection_t) -> Peer {
    // SAFETY: by the contract; the descriptor is borrowed for this call.
    let socket = unsafe { BorrowedFd::borrow_raw((*connection).fd) };
    let is_unix = getsockname(socket).is_ok_and(|at| at.address_family() == AddressFamily::UNIX);
    if !is_unix {
        return Peer::Other;
    }
    // Of the process that called connect(2), from the moment it did.
    match sockopt::socket_peercred(socket) {
        Ok(credentials) => Peer::Unix(credentials.uid.as_raw()),
        Err(_) => Peer::Other,
    }
}

/// The uid of a user by name, or by number; `None` when there is no such user. While a configuration
/// is read, which one thread does.
pub(crate) fn uid_of(user: &str) -> Option<u32> {
    if !user.is_empty() && user.bytes().all(|b| b.is_ascii_digit()) {
        return user.parse().ok();
    }
    let name = CString::new(user).ok()?;
    // SAFETY: the name is NUL-terminated; what is returned is read before anybody calls it again.
    unsafe { getpwnam(name.as_ptr()).as_ref() }.map(|entry| entry.pw_uid)
}

/// The uid that this process acts as.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
