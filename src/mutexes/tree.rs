use super::{Capture, ForceRelease, Mutexes, Refresh, Release};
use crate::{
    current_owner::current_owner,
    domain::{
        Error, Mutex, MutexId, MutexQuery, MutexState, Reach, Result, Wish, join_path, split_path,
    },
    guard::{Lock, TryLock},
};

/// The mode of all mutexes that are paths of trees.
const MODE: &str = "tree";

/// A tree of resources. See [`Mutexes::tree`].
#[derive(Clone, Debug)]
pub struct Tree {
    mutexes: Mutexes,
    name: String,
}

impl Tree {
    pub(super) fn new(mutexes: Mutexes, name: String) -> Self {
        Self { mutexes, name }
    }

    /// A path in the tree, by the segments that lead to it from the root. A segment may contain any
    /// character, slashes too. No segments: the root.
    ///
    /// # Errors
    /// [`Error::InvalidId`] if a segment is empty or contains NUL, if there are more than 100, or
    /// if the path is longer than 1,600 bytes, counting a slash for each segment, one more for the
    /// root, and three bytes for each `/` and `%` inside of a segment.
    pub fn path<S: AsRef<str>>(&self, segments: impl IntoIterator<Item = S>) -> Result<TreePath> {
        let path = join_path(segments)?;
        Ok(TreePath {
            mutexes: self.mutexes.clone(),
            id: MutexId::new(self.name.clone(), MODE, path)?,
            reach: Reach::all(),
        })
    }

    /// The root, which lies above everything.
    ///
    /// # Errors
    /// [`Error::InvalidId`] if the tree's name is longer than 400 bytes or contains NUL.
    pub fn root(&self) -> Result<TreePath> {
        self.path::<&str>([])
    }

    /// All holds in the tree, for [`Mutexes::list`].
    pub fn query(&self) -> MutexQuery {
        MutexQuery::all().group(self.name.as_str()).mode(MODE)
    }
}

/// A path of a tree: a mutex that is captured with regard to the paths above and below it.
///
/// While it is held nobody else can capture the path itself, one above it (unless it was captured
/// with [`lock_parents(false)`](Self::lock_parents)) or one below it (unless
/// [`lock_children(false)`](Self::lock_children)). Siblings are free. Owners do not stand in their own
/// way: an owner session that has a path can capture others above and below. Two who share do not
/// stand in each other's way either.
///
/// Everything else is as with any mutex: its [id](Self::id) goes wherever a mutex id goes, and the
/// path itself (`&path`) where a mutex is wanted, as in [`Mutexes::lock_all`] or
/// [`InTransaction::capture`](crate::InTransaction::capture).
#[derive(Clone, Debug)]
pub struct TreePath {
    mutexes: Mutexes,
    id: MutexId,
    reach: Reach,
}

impl TreePath {
    /// Whether a hold keeps others from the paths above. Default: it does.
    pub fn lock_parents(mut self, lock_parents: bool) -> Self {
        self.reach.parents = lock_parents;
        self
    }

    /// Whether a hold keeps others from the paths below. Default: it does.
    pub fn lock_children(mut self, lock_children: bool) -> Self {
        self.reach.children = lock_children;
        self
    }

    /// The path as a mutex id: the tree's name, the mode `tree`, and the segments with a slash before
    /// and behind each (`/rack1/board3/`; slashes and percent signs inside of a segment are written
    /// as `%2F` and `%25`).
    pub fn id(&self) -> &MutexId {
        &self.id
    }

    /// The segments that lead here from the root.
    pub fn segments(&self) -> Vec<String> {
        split_path(self.id.id()).unwrap_or_default()
    }

    /// The segments of a mutex id, if it is a path: for people, from a holder's [`Mutex::id`].
    pub fn segments_of(id: &MutexId) -> Option<Vec<String>> {
        split_path(id.id())
    }

    /// A path below this one.
    ///
    /// # Errors
    /// As [`Tree::path`].
    pub fn join<S: AsRef<str>>(&self, segments: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut path = self.id.id().to_owned();
        path.push_str(join_path(segments)?.trim_start_matches('/'));
        Ok(Self {
            id: MutexId::new(self.id.group(), MODE, path)?,
            ..self.clone()
        })
    }

    /// The path above this one; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let (above, _) = self.id.id().strip_suffix('/')?.rsplit_once('/')?;
        let id = MutexId::new(self.id.group(), MODE, format!("{above}/")).ok()?;
        Some(Self { id, ..self.clone() })
    }

    /// As [`Mutexes::capture`].
    ///
    /// # Errors
    /// [`Error::Busy`], whose holder may hold a path above or below.
    pub fn capture(&self) -> Capture<'_> {
        self.mutexes.capture(self)
    }

    /// As [`Mutexes::lock`].
    pub fn lock(&self) -> Lock {
        self.mutexes.lock(self)
    }

    /// As [`Mutexes::try_lock`].
    pub fn try_lock(&self) -> TryLock {
        self.mutexes.try_lock(self)
    }

    /// As [`Mutexes::read`]: shared with other readers, here, above and below.
    pub fn read(&self) -> Lock {
        self.mutexes.read(self)
    }

    /// As [`Mutexes::try_read`].
    pub fn try_read(&self) -> TryLock {
        self.mutexes.try_read(self)
    }

    /// As [`Mutexes::refresh`].
    pub fn refresh(&self) -> Refresh<'_> {
        self.mutexes.refresh(&self.id)
    }

    /// As [`Mutexes::release`].
    pub fn release(&self) -> Release<'_> {
        self.mutexes.release(&self.id)
    }

    /// As [`Mutexes::request`]: how the path itself stands. Whether it could be captured is what
    /// [`holder_in_the_way`](Self::holder_in_the_way) says.
    ///
    /// # Errors
    /// As [`Mutexes::request`].
    pub async fn request(&self) -> Result<MutexState> {
        self.mutexes.request(&self.id).await
    }

    /// As [`Mutexes::force_release`].
    pub fn force_release(&self, reason: impl Into<String>) -> ForceRelease<'_> {
        self.mutexes.force_release(&self.id, reason)
    }

    /// As [`Mutexes::holder_in_the_way`], for the current owner.
    ///
    /// # Errors
    /// As [`Mutexes::holder_in_the_way`].
    pub async fn holder_in_the_way(&self) -> Result<Option<Mutex>, Error> {
        self.mutexes.holder_in_the_way(self, &current_owner()).await
    }

    /// The holds of this path and of all below it, for [`Mutexes::list`].
    pub fn query(&self) -> MutexQuery {
        MutexQuery::all()
            .group(self.id.group())
            .mode(MODE)
            .mutex_id_prefix(self.id.id())
    }
}

impl From<&TreePath> for Wish {
    fn from(path: &TreePath) -> Self {
        Self {
            reach: path.reach,
            ..Self::new(path.id.clone())
        }
    }
}
