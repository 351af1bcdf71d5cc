//! How much memory a process holds.

/// Bytes a process holds now (`VmRSS`).
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn resident(process: u32) -> u64 {
    status(process, "VmRSS:")
}

/// The most bytes a process has held (`VmHWM`).
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn peak(process: u32) -> u64 {
    status(process, "VmHWM:")
}

fn status(process: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes << 10
}
