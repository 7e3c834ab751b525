use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("cannot read {what} from {}: {source}; name a PEM file that this user can read", file.display())]
    File {
        /// What was to be in it.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate in the file.
    #[error("there is no certificate in {}: name a PEM file with one, and those that lead to it", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// They do not fit together, or are of a kind that is not supported.
    #[error("the certificate and the key cannot be used: {source}")]
    Unusable {
        /// Why not.
        source: rustls::Error,
    },
}

pub(super) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let unreadable = |what, file: &Path| {
        let file = file.to_owned();
        move |source| TlsError::File { what, file, source }
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(unreadable("certificates", certificate))?;
    if certificates.is_empty() {
        let file = certificate.to_owned();
        return Err(TlsError::NoCertificate { file });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable("a private key", key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(certificates, key)
        });
    let mut config = config.map_err(|source| TlsError::Unusable { source })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
