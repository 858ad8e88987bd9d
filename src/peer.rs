//! Who is at the other end of a connection, as the kernel says; not as a proxy says.

/// The peer of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// On a unix socket: the uid of the process that connected (SO_PEERCRED).
    Unix(u32),
    /// On any other socket.
    Other,
}
