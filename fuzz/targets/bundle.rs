#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shared_cert_core::fuzz::bundle(bytes));
