//! private_server
