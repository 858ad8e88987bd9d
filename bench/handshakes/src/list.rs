//! The list of names, and the certificate that is expected for each.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

pub(crate) type Name = (ServerName<'static>, CertificateDer<'static>);

pub(crate) fn read(path: &Path) -> Result<Vec<Name>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let names = text.lines().map(|line| {
        let (name, certificate) = line.split_once(' ').ok_or_else(|| format!("no path: {line}"))?;
        Ok((server_name(name)?, leaf(certificate.as_ref())?))
    });
    let names = names.collect::<Result<Vec<_>, String>>()?;
    if names.is_empty() { Err(format!("{}: no names", path.display())) } else { Ok(names) }
}

pub(crate) fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|e| format!("{text}: {e}"))
}

/// The first certificate of a file.
pub(crate) fn leaf(path: &Path) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_file(path).map_err(|e| format!("{}: {e}", path.display()))
}
