use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{MutexId, Result, Wish},
    server::{
        app::App,
        parameters::{Parameters, invalid, percent_decoded},
        problem::Problem,
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

    /// What is to be captured: a path with what lies above and below it, a plain mutex alone.
    pub(super) fn wish(self, app: &App) -> Result<Wish, Problem> {
        let is_path = self.tree.is_some() || self.path.is_some();
        let is_plain = self.group.is_some() || self.mode.is_some() || self.id.is_some();
        let path_of = |tree: String, path: &[String]| -> Result<Wish> {
            Ok(Wish::from(&app.mutexes.tree(tree).path(path)?))
        };
        match (is_path, is_plain) {
            (true, true) => {
                let reason = "name either group, mode and id, or tree and path";
                Err(invalid("mutex", reason))
            }
            (true, false) => {
                let tree = self.tree.ok_or_else(|| invalid("tree", "is missing"))?;
                Ok(path_of(tree, &self.path.unwrap_or_default())?)
            }
            (false, _) => {
                let group = self.group.unwrap_or_default();
                let mode = self.mode.unwrap_or_default();
                let id = self.id.unwrap_or_default();
                match mode.as_str() {
                    // A path of a tree under the name that lists show.
                    TREE_MODE => Ok(path_of(group, &segments(&id)?)?),
                    _ => Ok(MutexId::new(group, mode, id)?.into()),
                }
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
