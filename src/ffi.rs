//! OUTBOUND: safe wrappers over what we call in NGINX and OpenSSL, one file per subject.

#[cfg(not(test))]
pub(crate) mod body;
#[cfg(not(test))]
pub(crate) mod clock;
#[cfg(not(test))]
pub(crate) mod conf;
#[cfg(not(test))]
pub(crate) mod cycle;
pub(crate) mod decoder;
#[cfg(all(not(test), feature = "fault-injection"))]
pub(crate) mod fault;
#[cfg(not(test))]
pub(crate) mod handshake;
#[cfg(not(test))]
pub(crate) mod http;
#[cfg(not(test))]
pub(crate) mod log;
#[cfg(not(test))]
pub(crate) mod peer;
#[cfg(not(test))]
pub(crate) mod pool;
pub(crate) mod region;
#[cfg(not(test))]
pub(crate) mod shm;
#[cfg(not(test))]
pub(crate) mod ssl_ctx;
#[cfg(not(test))]
pub(crate) mod suspend;
#[cfg(not(test))]
pub(crate) mod thread;
