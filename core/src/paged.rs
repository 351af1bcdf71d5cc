//! A table by dense index, in pages: it grows by little, and nothing in it ever moves.
//!
//! A vector that doubles holds up to twice what it needs, and twice that while it is copied; with a
//! million connections that is tens of megabytes and a pause.

/// Entries of one page.
const PAGE: usize = 256;

/// Entries by index. Those that were never set are as new.
#[derive(Debug)]
pub(crate) struct Paged<T> {
    pages: Vec<Box<[T; PAGE]>>,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T: Default> Paged<T> {
    /// The entry at `index`, in a new page if need be.
    #[inline]
    pub(crate) fn grow(&mut self, index: u32) -> &mut T {
        let (page, place) = split(index);
        if self.pages.len() <= page {
            self.add_pages(page);
        }
        &mut self.pages[page][place]
    }

    #[cold]
    fn add_pages(&mut self, last: usize) {
        self.pages.resize_with(last + 1, || {
            let page: Box<[T]> = (0..PAGE).map(|_| T::default()).collect();
            let Ok(page) = page.try_into() else { unreachable!("a page has its length") };
            page
        });
    }
}

impl<T> Paged<T> {
    /// The entry at `index`, if its page is there.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (page, place) = split(index);
        Some(&self.pages.get(page)?[place])
    }

    /// The same to change.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (page, place) = split(index);
        Some(&mut self.pages.get_mut(page)?[place])
    }

    /// All entries with their indexes, those that were never set as well.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.pages.iter().flat_map(|page| page.iter()))
    }
}

#[inline]
fn split(index: u32) -> (usize, usize) {
    let index = index as usize;
    (index / PAGE, index % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_again_and_the_others_are_as_new() {
        let mut table = Paged::<u32>::default();
        for index in [0, 1, 255, 256, 70_000] {
            assert_eq!(table.get(index).copied().unwrap_or(0), 0);
            *table.grow(index) = index + 1;
        }
        assert_eq!(table.get(70_000), Some(&70_001));
        assert_eq!(table.get_mut(300).copied(), Some(0));
        assert_eq!(table.get(1 << 20), None);
        let set: Vec<u32> = table.iter().filter(|(_, set)| **set != 0).map(|(i, _)| i).collect();
        assert_eq!(set, [0, 1, 255, 256, 70_000]);
    }
}
