//! Eight booleans in a byte, for tables with an entry per connection.

/// One of eight booleans, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flag(u8);

impl Flag {
    /// The boolean with this number, 0 to 7.
    pub(crate) const fn new(number: u32) -> Self {
        Self(1 << number)
    }

    /// This one or the other.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Eight booleans; all false at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    /// Whether it is true; of several, whether any is.
    #[inline]
    pub(crate) fn has(self, flag: Flag) -> bool {
        self.0 & flag.0 != 0
    }

    /// Makes it true or false; of several, all. Says what [`has`](Self::has) said before.
    pub(crate) fn set(&mut self, flag: Flag, value: bool) -> bool {
        let before = self.has(flag);
        self.0 = if value { self.0 | flag.0 } else { self.0 & !flag.0 };
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_set_and_asked_one_by_one_or_together() {
        let (first, last) = (Flag::new(0), Flag::new(7));
        let mut flags = Flags::default();
        assert!(!flags.set(last, true) && flags.has(last) && !flags.has(first));
        assert!(flags.has(first.or(last)));
        assert!(flags.set(last, true), "it was true before");
        assert!(flags.set(first.or(last), false));
        assert_eq!(flags, Flags::default());
    }
}
