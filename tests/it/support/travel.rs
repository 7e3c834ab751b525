use std::time::Duration;

use pgmutex::{Mutexes, MutexesBuilder};

use super::Database;

/// Whether concurrent calls of a process travel together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Travel {
    Together,
    Alone,
}

impl Travel {
    /// What is under test, with a pool of its own.
    pub(crate) async fn mutexes(self, database: &Database) -> Mutexes {
        self.mutexes_at(database.url()).await
    }

    pub(crate) async fn mutexes_at(self, url: &str) -> Mutexes {
        self.builder().connect(url).await.unwrap()
    }

    /// Whose calls wait for their answers for as long as it takes.
    pub(crate) fn builder(self) -> MutexesBuilder {
        Mutexes::builder()
            .coalescing(self == Self::Together)
            .call_timeout(Duration::from_secs(300))
    }
}

/// Makes two tests of each: calls travel together in one, and each alone in the other.
macro_rules! both_ways {
    ($($case:ident)*) => {
        both_ways! { (flavor = "current_thread"): $($case)* }
    };
    ($runtime:tt : $($case:ident)*) => {
        mod together {
            $(#[tokio::test $runtime]
            async fn $case() {
                super::$case(crate::support::Travel::Together).await;
            })*
        }

        mod alone {
            $(#[tokio::test $runtime]
            async fn $case() {
                super::$case(crate::support::Travel::Alone).await;
            })*
        }
    };
}

pub(crate) use both_ways;
