//! The dense array of a group's members, cut into runs of equal position.
//!
//! A *run* is an interval of the array whose members all stand at the same ordinal: everything
//! before it has been handed to the driver for them, nothing from it on. With no wave under way
//! there is one run. A wave in slices is nothing but a second run growing at the expense of the
//! first, and messages that arrive during a wave make a third position, and so on up to `runs_max`.
//! So a member's position is derived from its index by looking at a handful of intervals, joins and
//! leaves may come at any time between slices, and no "wave in progress" exists as a state.
//!
//! Removing a member moves at most one member per later run (each run gives its last member to fill
//! the hole at its front), so it is O(runs), that is O(1); so is inserting.

use fulmar_driver::Member;
use smallvec::SmallVec;

use super::{Ordinal, narrow};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// One past the last index.
    end: u32,
    /// Ordinal of the next frame its members want.
    at: Ordinal,
}

/// A stretch of one run to be served in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// First index.
    pub start: u32,
    /// One past the last index.
    pub end: u32,
    /// Where these members stand.
    pub from: Ordinal,
    /// Where they will stand.
    pub to: Ordinal,
}

/// The members of one group that have no cursor of their own.
#[derive(Debug, Default)]
pub struct Members {
    entries: Vec<Member>,
    /// Nearly always one.
    runs: SmallVec<[Run; 1]>,
}

impl Members {
    /// Adds a member that stands at `at` and returns its index, or `None` if no run can take it.
    /// `moved` learns of every member whose index changed. A member at the tail of a quiet group is
    /// simply pushed.
    pub fn insert(
        &mut self,
        member: Member,
        at: Ordinal,
        runs_max: usize,
        mut moved: impl FnMut(Member, u32),
    ) -> Option<u32> {
        let end = narrow(self.entries.len());
        let Some(run) = self.runs.iter().rposition(|run| run.at == at) else {
            if self.runs.len() >= runs_max {
                return None;
            }
            self.entries.push(member);
            self.runs.push(Run { end: end + 1, at });
            return Some(end);
        };
        self.entries.push(member);
        let mut hole = end;
        for index in (run + 1..self.runs.len()).rev() {
            let first = self.start(index);
            self.shift(first, hole, &mut moved);
            hole = first;
            self.grow(index, 1);
        }
        self.grow(run, 1);
        self.put(hole, member);
        Some(hole)
    }

    /// Takes out the member at `index` and tells where it stood.
    pub fn remove(
        &mut self,
        index: u32,
        mut moved: impl FnMut(Member, u32),
    ) -> Option<(Member, Ordinal)> {
        let member = *self.entries.get(index as usize)?;
        let run = self.run_of(index)?;
        let at = self.runs.get(run)?.at;
        let mut hole = index;
        for later in run..self.runs.len() {
            let last = self.runs.get(later)?.end - 1;
            if last != hole {
                self.shift(last, hole, &mut moved);
            }
            hole = last;
            self.grow(later, -1);
        }
        self.entries.pop();
        if self.start(run) == self.runs.get(run)?.end {
            self.runs.remove(run);
            self.merge();
        }
        Some((member, at))
    }

    /// The next stretch to serve, at most `max` members of the run that is furthest behind, up to
    /// `tail`. At the limit of runs it is served only as far as the run before it, which it joins.
    pub fn cut(&self, tail: Ordinal, max: u32, runs_max: usize) -> Option<Cut> {
        let (index, run) = self.runs.iter().enumerate().min_by_key(|(_, run)| run.at)?;
        if run.at >= tail || max == 0 {
            return None;
        }
        let before = index.checked_sub(1).and_then(|before| self.runs.get(before));
        let to = before.filter(|_| self.runs.len() >= runs_max).map_or(tail, |before| before.at);
        let start = self.start(index);
        Some(Cut { start, end: run.end.min(start.saturating_add(max)), from: run.at, to })
    }

    /// Records that the members of `cut` (which may have shrunk since) now stand at `cut.to`.
    pub fn advance(&mut self, cut: &Cut) {
        let Some(index) = self.run_of(cut.start).filter(|_| cut.start < cut.end) else {
            return;
        };
        let Some(run) = self.runs.get_mut(index) else {
            return;
        };
        debug_assert!(run.at == cut.from && cut.end <= run.end, "a cut lies in one run");
        if cut.end == run.end {
            run.at = cut.to;
        } else {
            self.runs.insert(index, Run { end: cut.end, at: cut.to });
        }
        self.merge();
    }

    /// Where the member at `index` stands.
    pub fn position(&self, index: u32) -> Option<Ordinal> {
        self.run_of(index).and_then(|run| self.runs.get(run)).map(|run| run.at)
    }

    /// The position furthest behind, if there are members.
    pub fn oldest(&self) -> Option<Ordinal> {
        self.runs.iter().map(|run| run.at).min()
    }

    /// The members of `cut`, for the driver.
    pub fn slice(&self, cut: &Cut) -> &[Member] {
        self.between(cut.start, cut.end)
    }

    /// The members from index `start` to before index `end`.
    #[inline]
    pub fn between(&self, start: u32, end: u32) -> &[Member] {
        self.entries.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// The member at `index`.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&Member> {
        self.entries.get(index as usize)
    }

    /// One past the last index of the run in which `index` lies.
    pub fn run_end(&self, index: u32) -> u32 {
        self.run_of(index).and_then(|run| self.runs.get(run)).map_or(0, |run| run.end)
    }

    /// How many members.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many runs.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    fn run_of(&self, index: u32) -> Option<usize> {
        self.runs.iter().position(|run| index < run.end)
    }

    fn start(&self, run: usize) -> u32 {
        run.checked_sub(1).and_then(|before| self.runs.get(before)).map_or(0, |run| run.end)
    }

    fn grow(&mut self, run: usize, by: i32) {
        if let Some(run) = self.runs.get_mut(run) {
            run.end = run.end.wrapping_add_signed(by);
        }
    }

    fn put(&mut self, index: u32, member: Member) {
        if let Some(entry) = self.entries.get_mut(index as usize) {
            *entry = member;
        }
    }

    fn shift(&mut self, from: u32, to: u32, moved: &mut impl FnMut(Member, u32)) {
        if let Some(member) = self.entries.get(from as usize).copied() {
            self.put(to, member);
            moved(member, to);
        }
    }

    /// Joins neighbours that stand at the same ordinal.
    fn merge(&mut self) {
        let mut kept = 0_usize;
        for index in 0..self.runs.len() {
            let (Some(run), before) = (self.runs.get(index).copied(), kept) else {
                return;
            };
            match self.runs.get_mut(before.wrapping_sub(1)).filter(|last| last.at == run.at) {
                Some(last) => last.end = run.end,
                None => {
                    if let Some(place) = self.runs.get_mut(before) {
                        *place = run;
                    }
                    kept += 1;
                }
            }
        }
        self.runs.truncate(kept);
    }
}
