//! Other keepers of locks, measured beside this one.

use std::{future::Future, pin::Pin};

use super::Failure;
#[cfg(feature = "bench-peers")]
use super::{etcd::Etcd, redis::Redis};
#[cfg(not(feature = "bench-peers"))]
use crate::cli::database::without_secrets;

/// What a peer answers, or why it does not.
pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// One connection to another keeper of locks. One task uses it at a time.
pub(super) trait Peer: Send {
    /// Captures what nobody else should have, and says whether it did.
    fn capture<'a>(&'a mut self, name: &'a str) -> Answer<'a, bool>;

    /// Gives it back.
    fn release<'a>(&'a mut self, name: &'a str) -> Answer<'a, ()>;

    /// Version, and whether what it acknowledges is on the disk.
    fn described(&mut self) -> Answer<'_, String>;
}

/// A peer that was named.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) kind: Kind,
    pub(super) url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Redis,
    Etcd,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Etcd => "etcd",
        }
    }
}

impl Named {
    /// A connection to it.
    #[cfg(feature = "bench-peers")]
    pub(super) async fn connect(&self) -> Result<Box<dyn Peer>, Failure> {
        Ok(match self.kind {
            Kind::Redis => Box::new(Redis::connect(&self.url).await?),
            Kind::Etcd => Box::new(Etcd::connect(&self.url).await?),
        })
    }

    /// There is none.
    #[cfg(not(feature = "bench-peers"))]
    pub(super) async fn connect(&self) -> Result<Box<dyn Peer>, Failure> {
        let Self { kind, url } = self;
        Err(Failure::usage(format!(
            "--{} {}: this program was built without peers to compare with: \
             cargo install pgmutex --features cli,bench-peers",
            kind.name(),
            without_secrets(url)
        )))
    }
}

#[cfg(feature = "bench-peers")]
macro_rules! peer {
    ($kind:ty) => {
        impl Peer for $kind {
            fn capture<'a>(&'a mut self, name: &'a str) -> Answer<'a, bool> {
                Box::pin(self.capture(name))
            }

            fn release<'a>(&'a mut self, name: &'a str) -> Answer<'a, ()> {
                Box::pin(self.release(name))
            }

            fn described(&mut self) -> Answer<'_, String> {
                Box::pin(self.described())
            }
        }
    };
}

#[cfg(feature = "bench-peers")]
peer!(Redis);
#[cfg(feature = "bench-peers")]
peer!(Etcd);
