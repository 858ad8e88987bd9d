//! Turns what `nginx-sys` and `openssl-sys` found out about the NGINX and the OpenSSL that the
//! module is built against into named cfgs, so that no version number appears in the code.

use std::env;

/// cfg name and the first NGINX version (as `nginx_version`) that has the feature.
const NGINX_CFGS: &[(&str, u64)] = &[
    // Virtual servers are chosen in the ClientHello callback, before a session is resumed.
    ("ngx_ssl_client_hello_cb", 1_029_002),
    ("ngx_ssl_certificate_compression", 1_029_001),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");

    for (name, first) in NGINX_CFGS {
        println!("cargo::rustc-check-cfg=cfg({name})");
        if number("DEP_NGINX_VERSION_NUMBER", 10) >= *first {
            println!("cargo::rustc-cfg={name}");
        }
    }

    println!("cargo::rerun-if-env-changed=DEP_NGINX_VERSION");
    let version = env::var("DEP_NGINX_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=NGINX_VERSION={version}");

    println!(
        "cargo::rustc-check-cfg=cfg(ngx_feature, values({}))",
        env::var("DEP_NGINX_FEATURES_CHECK").unwrap_or_else(|_| "any()".to_owned())
    );
    for feature in env::var("DEP_NGINX_FEATURES").unwrap_or_default().split(',') {
        if !feature.trim().is_empty() {
            println!("cargo::rustc-cfg=ngx_feature=\"{}\"", feature.trim());
        }
    }

    compile_request_bits();

    // NGINX loads modules with RTLD_GLOBAL: without this, a module that is loaded from another path
    // while the old one is still there would be bound to the old one's symbols, and run its code.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");

    // scripts/build copies the vendored nginx from there.
    if let Ok(dir) = env::var("DEP_NGINX_BUILD_DIR") {
        if let Ok(out) = env::var("OUT_DIR") {
            let _ = std::fs::write(std::path::Path::new(&out).join("nginx-build-dir"), dir);
        }
    }
}

/// With the headers that `nginx-sys` has found.
fn compile_request_bits() {
    const SOURCE: &str = "src/ffi/request_bits.c";

    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_INCLUDE");
    let includes = env::var("DEP_NGINX_INCLUDE").unwrap_or_default();
    cc::Build::new()
        .file(SOURCE)
        .includes(env::split_paths(&includes))
        .flag_if_supported("-fvisibility=hidden")
        .extra_warnings(false)
        .compile("request_bits");
}

/// The number in an environment variable, 0 where it is not set.
fn number(variable: &str, radix: u32) -> u64 {
    println!("cargo::rerun-if-env-changed={variable}");
    env::var(variable).ok().and_then(|v| u64::from_str_radix(&v, radix).ok()).unwrap_or(0)
}
