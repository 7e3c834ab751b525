//! TLS to the server by rustls, with libpq's grades of trust.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection_string::{TlsDemand, TlsParameters};
use crate::domain::Error;

/// A connector that trusts as much as the parameters say.
pub(super) fn connector(parameters: &TlsParameters) -> Result<MakeRustlsConnect, Error> {
    // Named, not the process's default provider: an application may have none, or another.
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier {
        chain: chain(parameters, &provider)?,
        any_name: parameters.demand < TlsDemand::VerifyFull,
        provider: Arc::clone(&provider),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(invalid)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&parameters.certificate, &parameters.key) {
        (Some(certificate), Some(key)) => config
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(invalid)?,
        _ => config.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

/// What checks the chain of certificates; `None` where the parameters ask for no check.
fn chain(
    parameters: &TlsParameters,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, Error> {
    let roots = match parameters.root_certificates.as_deref() {
        None if parameters.demand < TlsDemand::VerifyCa => return Ok(None),
        None | Some("system") => {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            roots
        }
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(invalid)?;
            }
            roots
        }
    };
    if roots.is_empty() {
        return Err(invalid(
            "no root certificate to trust was found: name a file with sslrootcert",
        ));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map(Some)
        .map_err(invalid)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = |error| invalid(format!("certificates in {file}: {error}"));
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable)
}

fn private_key(file: &str) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| invalid(format!("private key in {file}: {error}")))
}

fn invalid(reason: impl ToString) -> Error {
    Error::InvalidUrl {
        reason: format!("TLS: {}", reason.to_string()),
    }
}

/// `require` believes any certificate, `verify-ca` any name on a certificate of a trusted chain,
/// `verify-full` neither.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    any_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is looked at last, when the chain has been found good.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
