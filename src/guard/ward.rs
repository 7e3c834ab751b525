use std::sync::Arc;

use super::Keeper;
use crate::{backend::MutexBackend, background::Background, postgres::Repository, rules::Rules};

/// What a hold needs to be waited for, kept and given back.
#[derive(Debug)]
pub(crate) struct Ward {
    pub(crate) backend: Arc<dyn MutexBackend>,
    pub(crate) keeper: Keeper,
    pub(crate) background: Background,
    pub(crate) rules: Arc<Rules>,
    /// The functions to fence with, where the mutexes are kept in PostgreSQL.
    pub(crate) repository: Option<Repository>,
}

impl Ward {
    /// The same for work that goes on elsewhere than where it is asked for.
    pub(crate) fn anchored(self: &Arc<Self>) -> Arc<Self> {
        match self.backend.anchored() {
            Some(backend) => Arc::new(Self {
                keeper: Keeper::new(Arc::clone(&backend), self.background.clone()),
                backend,
                background: self.background.clone(),
                rules: Arc::clone(&self.rules),
                repository: self.repository.clone(),
            }),
            None => Arc::clone(self),
        }
    }

    /// The same with another backend before its own.
    pub(crate) fn behind(&self, backend: Arc<dyn MutexBackend>) -> Arc<Self> {
        Arc::new(Self {
            backend,
            keeper: self.keeper.clone(),
            background: self.background.clone(),
            rules: Arc::clone(&self.rules),
            repository: self.repository.clone(),
        })
    }
}
