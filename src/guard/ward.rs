use std::sync::Arc;

use super::Keeper;
use crate::{backend::MutexBackend, background::Background, postgres::Repository, rules::Rules};

/// What a hold needs to be waited for, kept and given back. Cheap to clone.
#[derive(Clone, Debug)]
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
    pub(crate) fn anchored(&self) -> Self {
        match self.backend.anchored() {
            Some(backend) => Self {
                keeper: Keeper::new(Arc::clone(&backend), self.background.clone()),
                backend,
                ..self.clone()
            },
            None => self.clone(),
        }
    }
}
