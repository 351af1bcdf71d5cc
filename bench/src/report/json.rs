//! The report as JSON.

use std::io::{self, Write};
use std::path::Path;

use super::Report;

/// Writes the report to a file, or to stdout if the path is `-`.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(report: &Report, path: &Path) -> io::Result<()> {
    let mut text = sonic_rs::to_string_pretty(report).map_err(io::Error::other)?;
    text.push('\n');
    if path == Path::new("-") {
        io::stdout().write_all(text.as_bytes())
    } else {
        std::fs::write(path, text)
    }
}
