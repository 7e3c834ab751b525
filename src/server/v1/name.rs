use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{FencingToken, MutexId, Result},
    mutexes::{Capture, ForceRelease, Mutexes, Refresh, Release},
    server::{
        app::App,
        parameters::{Parameters, invalid, percent_decoded},
        problem::Problem,
        tree_face::{TreePath, Trees},
    },
};

/// The mode of the mutexes that are paths of a tree.
const TREE_MODE: &str = "tree";

/// Which mutex: group, mode and id (two of the three may be missing); or a tree and the segments of
/// a path in it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Name {
    /// The application or area.
    group: Option<String>,
    /// The type of the object that is locked.
    mode: Option<String>,
    /// Which object of that type.
    id: Option<String>,
    /// A tree of resources.
    tree: Option<String>,
    /// The segments of a path in the tree, of any characters; none: its root.
    path: Option<Vec<String>>,
}

/// A mutex that can be asked for.
#[derive(Clone, Debug)]
pub(super) enum Named {
    Plain { mutexes: Mutexes, id: MutexId },
    Path(TreePath),
}

impl Name {
    /// The name that a query gives. A path is one text there, as in the id of its hold.
    pub(super) fn of_query(query: &mut Parameters) -> Result<Self, Problem> {
        let path = query.take("path")?;
        Ok(Self {
            group: query.take("group")?,
            mode: query.take("mode")?,
            id: query.take("id")?,
            tree: query.take("tree")?,
            path: path.as_deref().map(segments).transpose()?,
        })
    }

    pub(super) fn find(self, app: &App) -> Result<Named, Problem> {
        let is_path = self.tree.is_some() || self.path.is_some();
        let is_plain = self.group.is_some() || self.mode.is_some() || self.id.is_some();
        match (is_path, is_plain) {
            (true, true) => {
                let reason = "name either group, mode and id, or tree and path";
                Err(invalid("mutex", reason))
            }
            (true, false) => {
                let tree = self.tree.ok_or_else(|| invalid("tree", "is missing"))?;
                let path = self.path.unwrap_or_default();
                Ok(Named::Path(app.mutexes.tree(&tree).path(&path)?))
            }
            (false, _) => {
                let group = self.group.unwrap_or_default();
                let mode = self.mode.unwrap_or_default();
                let id = self.id.unwrap_or_default();
                if mode == TREE_MODE {
                    // A path of a tree under the name that lists show.
                    let path = app.mutexes.tree(&group).path(segments(&id)?)?;
                    return Ok(Named::Path(path));
                }
                Ok(Named::Plain {
                    mutexes: app.mutexes.clone(),
                    id: MutexId::new(group, mode, id)?,
                })
            }
        }
    }
}

/// The segments of a path as it stands in the id of a hold.
fn segments(path: &str) -> Result<Vec<String>, Problem> {
    let Some(path) = path.strip_prefix('/') else {
        return Err(invalid("path", "begins with `/`"));
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    path.split('/').map(percent_decoded).collect()
}

impl Named {
    pub(super) fn id(&self) -> &MutexId {
        match self {
            Self::Plain { id, .. } => id,
            Self::Path(path) => path.id(),
        }
    }

    /// With or without the paths above and below it, where it is a path.
    pub(super) fn locking(
        self,
        parents: Option<bool>,
        children: Option<bool>,
    ) -> Result<Self, Problem> {
        match self {
            Self::Path(path) => Ok(Self::Path(
                path.lock_parents(parents.unwrap_or(true))
                    .lock_children(children.unwrap_or(true)),
            )),
            plain if parents.is_none() && children.is_none() => Ok(plain),
            Self::Plain { .. } => {
                let reason = "is for paths of a tree only";
                Err(invalid("lock_parents, lock_children", reason))
            }
        }
    }

    pub(super) fn capture(&self) -> Capture<'_> {
        match self {
            Self::Plain { mutexes, id } => mutexes.capture(id),
            Self::Path(path) => path.capture(),
        }
    }

    pub(super) fn refresh(&self) -> Refresh<'_> {
        match self {
            Self::Plain { mutexes, id } => mutexes.refresh(id),
            Self::Path(path) => path.refresh(),
        }
    }

    pub(super) fn release(&self, token: Option<i64>) -> Release<'_> {
        let release = match self {
            Self::Plain { mutexes, id } => mutexes.release(id),
            Self::Path(path) => path.release(),
        };
        match token {
            Some(token) => release.token(FencingToken::new(token)),
            None => release,
        }
    }

    pub(super) fn force_release(&self, reason: &str, token: Option<i64>) -> ForceRelease<'_> {
        let release = match self {
            Self::Plain { mutexes, id } => mutexes.force_release(id, reason),
            Self::Path(path) => path.force_release(reason),
        };
        match token {
            Some(token) => release.token(FencingToken::new(token)),
            None => release,
        }
    }
}
