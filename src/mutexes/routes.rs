use std::{collections::BTreeMap, sync::Arc};

use crate::{backend::MutexBackend, background::Background, domain::MutexQuery, guard::Keeper};

/// Which backend keeps the mutexes of which group.
#[derive(Debug)]
pub(super) struct Routes {
    default: Route,
    by_group: BTreeMap<String, Route>,
}

/// A backend, and who keeps the holds of guards alive there.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) backend: Arc<dyn MutexBackend>,
    pub(super) keeper: Keeper,
}

impl Routes {
    pub(super) fn new(
        default: Arc<dyn MutexBackend>,
        by_group: BTreeMap<String, Arc<dyn MutexBackend>>,
        background: &Background,
    ) -> Self {
        let route = |backend: Arc<dyn MutexBackend>| Route {
            keeper: Keeper::new(Arc::clone(&backend), background.clone()),
            backend,
        };
        let by_group = by_group.into_iter();
        Self {
            default: route(default),
            by_group: by_group
                .map(|(group, backend)| (group, route(backend)))
                .collect(),
        }
    }

    pub(super) fn route(&self, group: &str) -> &Route {
        self.by_group.get(group).unwrap_or(&self.default)
    }

    pub(super) fn of_group(&self, group: &str) -> &dyn MutexBackend {
        self.route(group).backend.as_ref()
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

    pub(super) fn all(&self) -> impl Iterator<Item = &dyn MutexBackend> {
        std::iter::once(&self.default)
            .chain(self.by_group.values())
            .map(|route| route.backend.as_ref())
    }
}
