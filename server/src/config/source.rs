//! Where a value was typed: a file, the environment, `--set` or a flag, and the bytes within.

use super::error::Problem;
use std::ops::Range;

/// Which kind of place a text came from; later kinds win over earlier ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// A configuration file, shown with line, column and an excerpt.
    File,
    /// An environment variable.
    Environment,
    /// `--set key=value`.
    Set,
    /// A flag of its own, such as `--listen`.
    Flag,
}

/// A text that holds settings.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its kind.
    pub(crate) origin: Origin,
    /// How messages call it: `fulmar.toml`, `FULMAR_LISTEN`, `--set listen=x`, `--listen`.
    pub(crate) name: String,
    /// The text itself.
    pub(crate) text: String,
}

/// Bytes of one of the [`Sources`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// Index of the source.
    pub(crate) source: usize,
    /// Byte range in its text.
    pub(crate) span: Range<usize>,
}

/// All texts read, and what is wrong with them so far.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// In the order of reading.
    pub(crate) list: Vec<Source>,
    /// In the order of finding.
    pub(crate) problems: Vec<Problem>,
}

impl Sources {
    /// Adds a text; returns its index.
    pub(crate) fn add(&mut self, origin: Origin, name: impl Into<String>, text: String) -> usize {
        self.list.push(Source { origin, name: name.into(), text });
        self.list.len() - 1
    }
}

impl Place {
    /// Line and column, both from 1, the column in characters.
    pub(crate) fn line_and_column(&self, text: &str) -> (usize, usize) {
        let before = &text[..floor(text, self.span.start)];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[start..].chars().count() + 1)
    }

    /// The line the place begins in, and how many characters of it the place covers (at least 1).
    pub(crate) fn line_and_width<'a>(&self, text: &'a str) -> (&'a str, usize) {
        let start = floor(text, self.span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor(text, self.span.end).clamp(start, line_end);
        let line = text[line_start..line_end].trim_end_matches('\r');
        (line, text[start..end].chars().count().max(1))
    }
}

/// The nearest character boundary at or before a byte offset.
fn floor(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters_from_one() {
        let text = "a = 1\nß = \"é\"\n";
        let place = Place { source: 0, span: 11..15 };
        assert_eq!(&text[11..15], "\"é\"");
        assert_eq!(place.line_and_column(text), (2, 5));
        assert_eq!(place.line_and_width(text), ("ß = \"é\"", 3));
    }

    #[test]
    fn a_place_outside_the_text_does_not_panic() {
        let place = Place { source: 0, span: 90..95 };
        assert_eq!(place.line_and_column("é"), (1, 2));
        assert_eq!(place.line_and_width("é"), ("é", 1));
        assert_eq!(Place { source: 0, span: 1..1 }.line_and_column("é"), (1, 1));
    }
}
