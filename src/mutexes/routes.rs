use std::{collections::BTreeMap, sync::Arc};

use crate::{
    backend::MutexBackend,
    background::Background,
    domain::MutexQuery,
    guard::{Keeper, Ward},
    postgres::PostgresBackend,
    rules::Rules,
};

/// Which backend keeps the mutexes of which group, and what guards need there.
#[derive(Debug)]
pub(super) struct Routes {
    default: Arc<Ward>,
    by_group: BTreeMap<String, Arc<Ward>>,
}

impl Routes {
    pub(super) fn new(
        default: Arc<dyn MutexBackend>,
        postgres: Option<&PostgresBackend>,
        by_group: BTreeMap<String, Arc<dyn MutexBackend>>,
        rules: &Arc<Rules>,
        background: &Background,
    ) -> Self {
        let ward = |backend: Arc<dyn MutexBackend>, postgres: Option<&PostgresBackend>| {
            Arc::new(Ward {
                keeper: Keeper::new(Arc::clone(&backend), background.clone()),
                backend,
                background: background.clone(),
                rules: Arc::clone(rules),
                repository: postgres.map(|postgres| postgres.repository().clone()),
            })
        };
        let by_group = by_group.into_iter();
        Self {
            default: ward(default, postgres),
            by_group: by_group
                .map(|(group, backend)| (group, ward(backend, None)))
                .collect(),
        }
    }

    pub(super) fn ward(&self, group: &str) -> &Arc<Ward> {
        self.by_group.get(group).unwrap_or(&self.default)
    }

    pub(super) fn of_group(&self, group: &str) -> &dyn MutexBackend {
        self.ward(group).backend.as_ref()
    }

    pub(super) fn of_query(&self, query: &MutexQuery) -> &dyn MutexBackend {
        match &query.group {
            Some(group) => self.of_group(group),
            None => self.default.backend.as_ref(),
        }
    }

    /// Whether mutexes of this group are kept elsewhere than in the default backend.
    pub(super) fn is_routed(&self, group: &str) -> bool {
        self.by_group.contains_key(group)
    }

    pub(super) fn default(&self) -> &dyn MutexBackend {
        self.default.backend.as_ref()
    }

    /// The backends of groups that are kept elsewhere.
    pub(super) fn routed(&self) -> impl Iterator<Item = &dyn MutexBackend> {
        self.by_group.values().map(|ward| ward.backend.as_ref())
    }
}
