//! The generic operations: by what sessions are like, and the indexes that make that fast.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    SessionPool, SessionUpdate,
    check::{check_filter, check_path, read_payload, senseless},
};
use crate::{
    backend::{PoolAnswer, PoolCall},
    domain::{PoolIndex, PooledSession, Result, SessionFilter},
};

impl<T: Serialize + DeserializeOwned + Send + Sync> SessionPool<T> {
    /// How many sessions a filter lets through, whatever the default filter.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) for a filter that makes no sense.
    pub async fn count(&self, filter: SessionFilter) -> Result<u64> {
        check_filter(&filter)?;
        self.number(PoolCall::Count(filter)).await
    }

    /// The sessions that a filter lets through, whatever the default filter, in the order of their
    /// numbers: at most so many, after this number.
    ///
    /// # Errors
    /// As [`count`](Self::count); [`Error::InvalidInput`](crate::Error::InvalidInput) if a payload is no `T`.
    pub async fn find(
        &self,
        filter: SessionFilter,
        page_size: Option<u32>,
        after: Option<i64>,
    ) -> Result<Vec<PooledSession<T>>> {
        check_filter(&filter)?;
        let paths = self.projection().iter();
        paths
            .map(String::as_str)
            .try_for_each(|path| check_path("projection", path))?;
        let call = PoolCall::Find {
            filter,
            projection: self.projection().to_vec(),
            page_size,
            after,
        };
        match self.ask(call).await? {
            PoolAnswer::Sessions(sessions) => sessions
                .into_iter()
                .map(|session| session.with_payload(read_payload))
                .collect(),
            other => Err(senseless(&other)),
        }
    }

    /// Changes the first session that a filter lets through, and gives it as it is then; `None` if
    /// there is none.
    ///
    /// # Errors
    /// As [`session_update`](Self::session_update). [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) is not repeated.
    pub async fn find_one_and_update(
        &self,
        filter: SessionFilter,
        update: SessionUpdate,
    ) -> Result<Option<PooledSession<T>>> {
        check_filter(&filter)?;
        update.check()?;
        let SessionUpdate { set, unset } = update;
        self.optional(PoolCall::FindOneAndUpdate { filter, set, unset })
            .await
    }

    /// The same as [`find_one_and_update`](Self::find_one_and_update), saying only whether there was
    /// one.
    ///
    /// # Errors
    /// As [`find_one_and_update`](Self::find_one_and_update).
    pub async fn update_one(&self, filter: SessionFilter, update: SessionUpdate) -> Result<bool> {
        let updated = self.find_one_and_update(filter, update).await?;
        Ok(updated.is_some())
    }

    /// Removes the first session that a filter lets through, and gives it as it was.
    ///
    /// # Errors
    /// As [`count`](Self::count). [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) is not repeated.
    pub async fn delete_one(&self, filter: SessionFilter) -> Result<Option<PooledSession<T>>> {
        check_filter(&filter)?;
        self.optional(PoolCall::DeleteOne(filter)).await
    }

    /// Makes finding, counting and changing by a path of the payload fast (not checkouts, which go by
    /// the order of use), and gives the index's name. Nobody can write to
    /// any pool while it is built.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) for a path that is none.
    pub async fn create_index(&self, path: &str) -> Result<String> {
        check_path("path", path)?;
        match self.ask(PoolCall::CreateIndex(path.to_owned())).await? {
            PoolAnswer::Text(name) => Ok(name),
            other => Err(senseless(&other)),
        }
    }

    /// Removes such an index, and says whether there was one.
    ///
    /// # Errors
    /// As [`create_index`](Self::create_index).
    pub async fn drop_index(&self, path: &str) -> Result<bool> {
        check_path("path", path)?;
        match self.ask(PoolCall::DropIndex(path.to_owned())).await? {
            PoolAnswer::Flag(was_there) => Ok(was_there),
            other => Err(senseless(&other)),
        }
    }

    /// The indexes that were made for this pool.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable) and the like.
    pub async fn index_information(&self) -> Result<Vec<PoolIndex>> {
        match self.ask(PoolCall::ListIndexes).await? {
            PoolAnswer::Indexes(indexes) => Ok(indexes),
            other => Err(senseless(&other)),
        }
    }
}
