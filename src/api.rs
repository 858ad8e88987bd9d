//! The answers of the content handlers.

pub(crate) mod clear;
pub(crate) mod reply;
