//! Private servers of Redis and etcd.

mod keeper;
mod server;

pub(crate) use server::PeerServer;
