//! OUTBOUND: safe wrappers over what we call in NGINX and OpenSSL, one file per subject.

pub(crate) mod atomic;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod body;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod clock;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod conf;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod cycle;
pub(crate) mod decoder;
pub(crate) mod ec;
#[cfg(all(not(any(test, fuzzing)), feature = "fault-injection"))]
pub(crate) mod fault;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod handshake;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod http;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod installable;
mod key_number;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod log;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod peer;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod pool;
pub(crate) mod region;
#[cfg(not(any(test, fuzzing)))]
mod request_bits;
pub(crate) mod rsa;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod shm;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod ssl_ctx;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod suspend;
#[cfg(not(any(test, fuzzing)))]
pub(crate) mod thread;
pub(crate) mod undecoded;
