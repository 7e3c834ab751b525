use std::{collections::BTreeMap, sync::Arc};

use crate::{backend::MutexBackend, domain::MutexQuery};

/// Which backend keeps the mutexes of which group.
#[derive(Debug)]
pub(super) struct Routes {
    default: Arc<dyn MutexBackend>,
    by_group: BTreeMap<String, Arc<dyn MutexBackend>>,
}

impl Routes {
    pub(super) fn new(
        default: Arc<dyn MutexBackend>,
        by_group: BTreeMap<String, Arc<dyn MutexBackend>>,
    ) -> Self {
        Self { default, by_group }
    }

    pub(super) fn of_group(&self, group: &str) -> &dyn MutexBackend {
        self.by_group.get(group).unwrap_or(&self.default).as_ref()
    }

    pub(super) fn of_query(&self, query: &MutexQuery) -> &dyn MutexBackend {
        match &query.group {
            Some(group) => self.of_group(group),
            None => self.default.as_ref(),
        }
    }

    /// Whether mutexes of this group are kept elsewhere than in the default backend.
    pub(super) fn is_routed(&self, group: &str) -> bool {
        self.by_group.contains_key(group)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &dyn MutexBackend> {
        std::iter::once(&self.default)
            .chain(self.by_group.values())
            .map(Arc::as_ref)
    }
}
