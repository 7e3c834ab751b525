//! Paths: the mutex ids of a tree. They begin and end with a slash, so that what lies below a path is
//! all that begins with it.

use super::Error;

/// Most levels below the root: each takes a lock of the database's for the time of a decision.
pub(crate) const MOST_LEVELS: usize = 100;

/// Whether a mutex id is a path.
pub(crate) fn is_path(id: &str) -> bool {
    id.starts_with('/') && id.ends_with('/')
}

/// Whether one path lies above another.
pub(crate) fn is_above(upper: &str, lower: &str) -> bool {
    is_path(upper) && is_path(lower) && upper.len() < lower.len() && lower.starts_with(upper)
}

/// How many levels a path lies below the root.
pub(crate) fn levels(path: &str) -> usize {
    path.matches('/').count().saturating_sub(1)
}

/// How many locks of the database's a decision about a mutex takes: for a path one for each level,
/// and one for the root.
pub(crate) fn locks_of(id: &str) -> usize {
    if is_path(id) { levels(id) + 1 } else { 1 }
}

/// The path that these segments make: `/` and `%` inside of one are written as `%2F` and `%25`.
pub(crate) fn join<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Result<String, Error> {
    let mut path = String::from("/");
    for segment in segments {
        let segment = segment.as_ref();
        if segment.is_empty() {
            return Err(Error::InvalidId {
                field: "path",
                reason: "has an empty segment".to_owned(),
            });
        }
        for character in segment.chars() {
            match character {
                '/' => path.push_str("%2F"),
                '%' => path.push_str("%25"),
                other => path.push(other),
            }
        }
        path.push('/');
    }
    Ok(path)
}

/// The segments of a path, as they were before they were joined; `None` if the id is no path.
pub(crate) fn split(id: &str) -> Option<Vec<String>> {
    if !is_path(id) {
        return None;
    }
    let Some(inside) = id.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) else {
        return Some(Vec::new());
    };
    let segment = |text: &str| text.replace("%2F", "/").replace("%25", "%");
    Some(inside.split('/').map(segment).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn segments_come_back_as_they_were(segments in proptest::collection::vec("[ab/%2F5é]{1,4}", 0..5)) {
            let path = join(&segments).unwrap();
            prop_assert_eq!(levels(&path), segments.len());
            prop_assert_eq!(split(&path), Some(segments));
        }

        #[test]
        fn above_means_fewer_of_the_same_segments(
            upper in proptest::collection::vec("[ab/%]{1,2}", 0..4),
            lower in proptest::collection::vec("[ab/%]{1,2}", 0..4),
        ) {
            let is_prefix = lower.len() > upper.len() && lower.starts_with(&upper);
            prop_assert_eq!(is_above(&join(&upper).unwrap(), &join(&lower).unwrap()), is_prefix);
        }
    }
}
