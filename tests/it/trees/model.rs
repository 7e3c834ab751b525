//! The rules of trees, as plainly as they can be written: what a capture of a path must answer.

use std::collections::BTreeSet;

/// How a path is wanted or held. `None`: alone. `Some(limit)`: shared, by at most so many.
pub(super) type Sharing = Option<Option<u32>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) path: String,
    pub(super) owner: String,
    pub(super) sharing: Sharing,
    pub(super) lock_parents: bool,
    pub(super) lock_children: bool,
    /// Its time has passed.
    pub(super) is_over: bool,
    /// It is over, and may have made way already.
    may_be_gone: bool,
}

/// What must be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Captured,
    Refreshed,
    /// Captured from one whose time has passed.
    Evicted,
    /// Captured, perhaps from one whose time has passed.
    CapturedOrEvicted,
    /// One of these paths and their owners is named.
    Busy(BTreeSet<(String, String)>),
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) holds: Vec<Hold>,
}

fn is_above(upper: &str, lower: &str) -> bool {
    upper != lower && lower.starts_with(upper)
}

impl Hold {
    fn reaches(&self, path: &str) -> bool {
        is_above(&self.path, path) && self.lock_children
            || is_above(path, &self.path) && self.lock_parents
    }

    /// Whether it keeps this owner from a path above or below it, or would if it were not over.
    fn keeps_from(&self, path: &str, owner: &str, sharing: Sharing) -> bool {
        let both_share = self.sharing.is_some() && sharing.is_some();
        self.reaches(path) && self.owner != owner && !both_share
    }

    fn named(&self) -> (String, String) {
        (self.path.clone(), self.owner.clone())
    }
}

impl Model {
    /// Who is in the way at the path itself of one who holds nothing there.
    fn at_the_path(&self, path: &str, owner: &str, sharing: Sharing) -> BTreeSet<(String, String)> {
        let others: Vec<&Hold> = self
            .holds
            .iter()
            .filter(|hold| hold.path == path && hold.owner != owner && !hold.is_over)
            .collect();
        let limits = others.iter().filter_map(|hold| hold.sharing?);
        let strictest = limits.chain(sharing.flatten()).min();
        let may_share = sharing.is_some() && others.iter().all(|hold| hold.sharing.is_some());
        let has_room = strictest.is_none_or(|limit| others.len() < limit as usize);
        match others.is_empty() || may_share && has_room {
            true => BTreeSet::new(),
            false => others.into_iter().map(Hold::named).collect(),
        }
    }

    /// Who is in the way above and below a path.
    fn around(&self, path: &str, owner: &str, sharing: Sharing) -> BTreeSet<(String, String)> {
        let in_the_way = |hold: &&Hold| !hold.is_over && hold.keeps_from(path, owner, sharing);
        self.holds
            .iter()
            .filter(in_the_way)
            .map(Hold::named)
            .collect()
    }

    fn own(&self, path: &str, owner: &str) -> Option<usize> {
        let is_own = |hold: &Hold| hold.path == path && hold.owner == owner && !hold.is_over;
        self.holds.iter().position(is_own)
    }

    /// Who would be in the way of a capture.
    pub(super) fn in_the_way(
        &self,
        path: &str,
        owner: &str,
        sharing: Sharing,
    ) -> BTreeSet<(String, String)> {
        let own = self.own(path, owner).map(|own| self.holds[own].sharing);
        if own.is_some_and(|own| own.is_none() || sharing.is_some()) {
            return BTreeSet::new();
        }
        let mut in_the_way = self.at_the_path(path, owner, sharing);
        in_the_way.append(&mut self.around(path, owner, sharing));
        in_the_way
    }

    pub(super) fn capture(&mut self, wanted: Hold) -> Answer {
        let (path, owner) = (wanted.path.clone(), wanted.owner.clone());
        // What is over at the path itself makes way whatever the answer.
        let makes_way_here = |hold: &mut Hold| hold.path == path && hold.is_over;
        let mut evicted: Vec<Hold> = self.holds.extract_if(.., makes_way_here).collect();
        if let Some(own) = self.own(&path, &owner) {
            return self.capture_again(own, &wanted);
        }
        let in_the_way = self.in_the_way(&path, &owner, wanted.sharing);
        if !in_the_way.is_empty() {
            self.over_may_make_way(&wanted);
            return Answer::Busy(in_the_way);
        }
        let makes_way =
            |hold: &mut Hold| hold.is_over && hold.keeps_from(&path, &owner, wanted.sharing);
        evicted.extend(self.holds.extract_if(.., makes_way));
        self.holds.push(wanted);
        match evicted.iter().any(|hold| !hold.may_be_gone) {
            true => Answer::Evicted,
            false if evicted.is_empty() => Answer::Captured,
            false => Answer::CapturedOrEvicted,
        }
    }

    /// What the owner has at the path, by its index, is refreshed, or changed from alone to shared or
    /// back.
    fn capture_again(&mut self, own: usize, wanted: &Hold) -> Answer {
        let was_shared = self.holds[own].sharing.is_some();
        let becomes_exclusive = was_shared && wanted.sharing.is_none();
        if becomes_exclusive {
            let in_the_way = self.in_the_way(&wanted.path, &wanted.owner, None);
            self.over_may_make_way(wanted);
            if !in_the_way.is_empty() {
                return Answer::Busy(in_the_way);
            }
        }
        if was_shared != wanted.sharing.is_some() {
            self.holds[own].sharing = wanted.sharing;
        }
        match becomes_exclusive {
            true => Answer::Captured,
            false => Answer::Refreshed,
        }
    }

    /// Those that are over and met on the way to one that is not.
    fn over_may_make_way(&mut self, wanted: &Hold) {
        for hold in &mut self.holds {
            let is_met = hold.keeps_from(&wanted.path, &wanted.owner, wanted.sharing);
            hold.may_be_gone |= hold.is_over && is_met;
        }
    }

    /// Whether there was something to release; `Err`: another has it.
    pub(super) fn release(&mut self, path: &str, owner: &str) -> Result<bool, ()> {
        if let Some(own) = self.own(path, owner) {
            self.holds.remove(own);
            return Ok(true);
        }
        // One that is over is removed, and was not held.
        let owns = |hold: &mut Hold| hold.path == path && hold.owner == owner;
        if self.holds.extract_if(.., owns).count() > 0 {
            return Ok(false);
        }
        let is_anothers = self
            .holds
            .iter()
            .any(|hold| hold.path == path && !hold.is_over);
        if is_anothers { Err(()) } else { Ok(false) }
    }

    pub(super) fn force_release(&mut self, path: &str) {
        self.holds.retain(|hold| hold.path != path);
    }

    /// The time of all holds at a path passes.
    pub(super) fn age(&mut self, path: &str) {
        for hold in &mut self.holds {
            hold.is_over |= hold.path == path;
        }
    }

    /// What is held, for people who look.
    pub(super) fn held(&self) -> BTreeSet<String> {
        let live = self.holds.iter().filter(|hold| !hold.is_over);
        live.map(Hold::described).collect()
    }

    pub(super) fn over(&self) -> BTreeSet<String> {
        let over = self.holds.iter().filter(|hold| hold.is_over);
        over.map(Hold::described).collect()
    }
}

impl Hold {
    pub(super) fn new(
        path: &str,
        owner: &str,
        sharing: Sharing,
        (lock_parents, lock_children): (bool, bool),
    ) -> Self {
        Self {
            path: path.to_owned(),
            owner: owner.to_owned(),
            sharing,
            lock_parents,
            lock_children,
            is_over: false,
            may_be_gone: false,
        }
    }

    /// As the tests ask the database for it.
    pub(super) fn described(&self) -> String {
        let sharing = match self.sharing {
            None => "alone".to_owned(),
            Some(None) => "shared".to_owned(),
            Some(Some(limit)) => format!("shared by {limit}"),
        };
        format!(
            "{} {} {sharing} {} {}",
            self.path, self.owner, self.lock_parents, self.lock_children
        )
    }
}
