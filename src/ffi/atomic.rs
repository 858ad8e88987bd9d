//! The atomic words of a zone: those of the language, or of a library that runs all that is tested in
//! orders of its own choice, in the builds that `scripts/model` makes.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, fence};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicU64, fence};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::atomic::{AtomicU64, fence};

pub(crate) use std::sync::atomic::Ordering;
