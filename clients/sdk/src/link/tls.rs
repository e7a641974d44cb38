//! The TLS configuration of a client, from PEM files or the system's certificates. Read once, when the client is made.

use crate::{Refusal, Tls};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{path::Path, sync::Arc};

/// Reads what the options name.
///
/// # Errors
/// [`Refusal::ARGUMENT`] with the file that is missing or broken.
pub(super) fn configuration(tls: &Tls) -> Result<Arc<ClientConfig>, Refusal> {
    if let Some(config) = &tls.config {
        return Ok(config.clone());
    }
    let mut roots = RootCertStore::empty();
    match &tls.roots_file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| broken(path, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(Refusal::argument("there is no certificate to trust"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Refusal::argument(error.to_string()))?
        .with_root_certificates(roots);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| broken(key, error))?;
            builder
                .with_client_auth_cert(certificates(chain)?, private)
                .map_err(|error| broken(chain, error))?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read {
        Ok(certificates) if certificates.is_empty() => Err(broken(path, "it holds no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(broken(path, error)),
    }
}

fn broken(path: &Path, error: impl std::fmt::Display) -> Refusal {
    Refusal::argument(format!("{}: {error}", path.display()))
}
