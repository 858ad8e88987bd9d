//! TLS certificates that rotate under a running NGINX, at the cost of a static one.
//!
//! Imports point down this list:
//! - `module`: what NGINX and OpenSSL call. Tables, directives, the SNI hook; no logic.
//! - `api`: the answers of the content handlers.
//! - `lookup`: a server name to a certificate set; the only place that knows the order.
//! - `restore`: the zone and its state directory, each brought to the other.
//! - `takeover`, `startup`: what a zone begins with, in the master.
//! - `precedence`: which of several sets serves a name.
//! - `replacement`, `host`: what may take the place of what serves, and what the core asks of the
//!   process that it runs in; `seen`: what the zone knows of directories.
//! - `state`: what was pushed, on disk, so that it is there after a restart.
//! - `worker_cache`, `files`, `store`, `certificate`: parsed sets, PEM files, the zone's bytes,
//!   what makes a good set.
//! - `record`, `server_name`, `failure`, `handshakes`, `peer`: plain data.
//! - `ffi`: safe wrappers over what we call in NGINX and OpenSSL.

#![cfg_attr(any(test, fuzzing), allow(dead_code, unused_imports))]

mod api;
mod certificate;
mod failure;
#[allow(unsafe_code)]
mod ffi;
mod files;
#[cfg(fuzzing)]
pub mod fuzz;
mod handshakes;
mod host;
mod lookup;
#[cfg(not(any(test, fuzzing)))]
#[allow(unsafe_code)]
mod module;
mod peer;
mod precedence;
mod record;
mod replacement;
mod restore;
mod seen;
mod server_name;
mod startup;
mod state;
mod store;
mod takeover;
mod worker_cache;
