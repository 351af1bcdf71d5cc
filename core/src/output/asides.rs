//! The cursors of a shard's members that stand aside, by key.

use super::aside::Aside;
use super::narrow;

/// Places kept although nobody stands aside.
const SPARE: usize = 1024;

/// Cursors by key; keys are used again.
#[derive(Debug, Default)]
pub struct Asides {
    /// Boxed, so that a crowd that has caught up gives its cursors' memory back.
    places: Vec<Option<Box<Aside>>>,
    free: Vec<u32>,
}

impl Asides {
    /// Keeps a cursor and returns its key, below 2^31.
    pub fn insert(&mut self, aside: Aside) -> u32 {
        let key = self.free.pop().unwrap_or_else(|| narrow(self.places.len()));
        let aside = Some(Box::new(aside));
        match self.places.get_mut(key as usize) {
            Some(place) => *place = aside,
            None => self.places.push(aside),
        }
        key
    }

    /// The cursor of a key.
    pub fn get(&self, key: u32) -> Option<&Aside> {
        self.places.get(key as usize)?.as_deref()
    }

    /// The cursor of a key, to change.
    pub fn get_mut(&mut self, key: u32) -> Option<&mut Aside> {
        self.places.get_mut(key as usize)?.as_deref_mut()
    }

    /// Forgets a cursor.
    pub fn remove(&mut self, key: u32) {
        if self.places.get_mut(key as usize).and_then(Option::take).is_none() {
            return;
        }
        self.free.push(key);
        if self.is_empty() && self.places.capacity() > SPARE {
            *self = Self::default();
        }
    }

    /// Whether nobody stands aside.
    pub fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_used_again_and_a_crowd_leaves_nothing_behind() {
        let mut asides = Asides::default();
        let keys: Vec<u32> = (0..3000).map(|at| asides.insert(Aside::at(at))).collect();
        assert_eq!(asides.get(keys[2000]).map(|aside| aside.cursor), Some(2000));
        asides.remove(keys[7]);
        asides.remove(keys[7]);
        assert_eq!(asides.insert(Aside::at(0)), keys[7]);
        keys.iter().for_each(|key| asides.remove(*key));
        assert!(asides.is_empty() && asides.places.capacity() == 0);
    }
}
