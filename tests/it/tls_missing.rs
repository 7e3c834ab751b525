//! A program built without the feature `tls`.
#![cfg(not(feature = "tls"))]

use pgmutex::{Error, pool_for_url};

#[test]
fn a_url_that_insists_on_tls_is_refused_and_the_feature_named() {
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = pool_for_url(&format!("postgres://app@db.example/app?sslmode={mode}"))
            .expect_err("it goes on without TLS");
        assert!(matches!(error, Error::InvalidUrl { .. }), "{error:?}");
        assert!(error.to_string().contains("feature `tls`"), "{error}");
    }
}

#[test]
fn a_url_that_can_do_without_tls_does_without() {
    for parameters in ["", "?sslmode=disable", "?sslmode=allow", "?sslmode=prefer"] {
        let url = format!("postgres://app@db.example/app{parameters}");
        assert!(pool_for_url(&url).is_ok(), "{url}");
    }
}
