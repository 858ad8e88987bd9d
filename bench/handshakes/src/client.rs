//! One full handshake.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    SupportedProtocolVersion, version,
};

use crate::list::Name;

/// Longer than any handshake, also under callgrind.
const PATIENCE: Duration = Duration::from_secs(30);

/// OpenSSL sends two, each with a write of its own.
const TICKETS: u32 = 2;

/// Takes what the list has for the name, and nothing else.
#[derive(Debug)]
struct Expected {
    leaves: HashMap<ServerName<'static>, Vec<CertificateDer<'static>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.leaves.get(&name.to_owned()) {
            Some(leaves) if leaves.contains(leaf) => Ok(ServerCertVerified::assertion()),
            _ => Err(Error::General("another certificate".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

pub(crate) struct Handshake {
    /// From the connect to the client's last byte.
    pub(crate) took: Duration,
    pub(crate) leaf: CertificateDer<'static>,
}

pub(crate) struct Client {
    addr: SocketAddr,
    config: Arc<ClientConfig>,
    /// Whether the server says something after the client's Finished.
    has_tickets: bool,
}

impl Client {
    pub(crate) fn new(addr: SocketAddr, protocol: &str, names: &[Name]) -> Result<Client, String> {
        // One suite, and servers have one curve, so that the servers' preferences make no difference.
        let (version, suites): (&'static SupportedProtocolVersion, _) = match protocol {
            "tls12" => (
                &version::TLS12,
                vec![
                    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                    ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                ],
            ),
            "tls13" => (&version::TLS13, vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256]),
            _ => return Err(format!("\"{protocol}\" is neither tls12 nor tls13")),
        };
        let provider = CryptoProvider {
            cipher_suites: suites,
            // The second is for TLS 1.2, where a P-256 certificate needs its curve in the list.
            kx_groups: vec![ring::kx_group::X25519, ring::kx_group::SECP256R1],
            ..ring::default_provider()
        };
        let mut leaves = HashMap::<_, Vec<_>>::new();
        for (name, leaf) in names {
            leaves.entry(name.clone()).or_default().push(leaf.clone());
        }
        let verifier = Expected { leaves, algorithms: provider.signature_verification_algorithms };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .map_err(|e| e.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Client { addr, config: Arc::new(config), has_tickets: version == &version::TLS13 })
    }

    /// The connection is reset once the server has done its part, so that neither side has a port
    /// left waiting.
    pub(crate) fn handshake(&self, name: &ServerName<'static>) -> Result<Handshake, String> {
        let start = Instant::now();
        let mut tcp = connect(self.addr).map_err(|e| format!("connect: {e}"))?;
        let mut tls = ClientConnection::new(self.config.clone(), name.clone())
            .map_err(|e| format!("client: {e}"))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).map_err(|e| format!("handshake: {e}"))?;
        }
        let took = start.elapsed();
        if self.has_tickets {
            await_tickets(&mut tls, &mut tcp).map_err(|e| format!("tickets: {e}"))?;
        }
        let leaf = tls.peer_certificates().and_then(|chain| chain.first());
        Ok(Handshake { took, leaf: leaf.ok_or("no certificate")?.clone().into_owned() })
    }
}

fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let tcp = TcpStream::connect_timeout(&addr, PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_nodelay(true)?;
    socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO))?;
    Ok(tcp)
}

/// A reset that overtakes the client's Finished would spare the server work, now and then.
fn await_tickets(tls: &mut ClientConnection, tcp: &mut (impl Read + Write)) -> std::io::Result<()> {
    while tls.tls13_tickets_received() < TICKETS {
        match tls.read_tls(tcp) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
        tls.process_new_packets().map_err(std::io::Error::other)?;
    }
    Ok(())
}
