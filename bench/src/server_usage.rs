//! What the server costs: CPU time and memory of its process, read from `/proc`.

use std::fs;
use std::path::Path;

/// Processes to look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    pid: u32,
    softirq_pid: Option<u32>,
}

/// A reading. Two of them give the cost of what happened between.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Nanoseconds on a CPU, all threads of the process.
    pub(crate) cpu: u64,
    /// Nanoseconds of the soft interrupt thread of the server's CPU, if asked for.
    pub(crate) softirq: Option<u64>,
    /// Resident bytes of the process.
    pub(crate) resident: u64,
}

impl Watched {
    /// Watches the process `pid`, and `ksoftirqd` of `cpu`, where the kernel does network work that
    /// it does not charge to the process.
    ///
    /// # Errors
    /// There is no such process or CPU, in words.
    pub(crate) fn new(pid: u32, cpu: Option<u32>) -> Result<Self, String> {
        let softirq_pid = match cpu {
            Some(cpu) => Some(softirq_pid(cpu).ok_or_else(|| {
                format!("there is no ksoftirqd/{cpu} to be seen; leave --server-cpu out")
            })?),
            None => None,
        };
        let watched = Self { pid, softirq_pid };
        watched.sample().map(|_| watched)
    }

    /// Reads the counters.
    ///
    /// # Errors
    /// The process is gone, in words.
    pub(crate) fn sample(&self) -> Result<Sample, String> {
        let tasks = format!("/proc/{}/task", self.pid);
        let entries = fs::read_dir(&tasks)
            .map_err(|error| format!("cannot watch the server, process {}: {error}", self.pid))?;
        // A thread may end between the listing and the reading; it then has no file to read.
        let cpu = entries.flatten().filter_map(|entry| on_cpu(&entry.path())).sum();
        let softirq = self.softirq_pid.and_then(|pid| on_cpu(Path::new(&format!("/proc/{pid}"))));
        Ok(Sample { cpu, softirq, resident: resident(self.pid).unwrap_or(0) })
    }
}

/// Nanoseconds the calling thread was on a CPU, and waited for one.
pub(crate) fn own_thread() -> (u64, u64) {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut numbers = text.split_ascii_whitespace().map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// How many files this process may have open.
pub(crate) fn open_files_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn on_cpu(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join("schedstat")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn resident(pid: u32) -> Option<u64> {
    parse_resident(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn softirq_pid(cpu: u32) -> Option<u32> {
    let name = format!("ksoftirqd/{cpu}");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let comm = fs::read_to_string(entry.path().join("comm")).ok()?;
        (comm.trim_end() == name).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_process() {
        let watched = Watched::new(std::process::id(), None).unwrap();
        let sample = watched.sample().unwrap();
        assert!(sample.resident > 100_000);
        assert!(open_files_max().unwrap() > 10);
        assert!(Watched::new(u32::MAX, None).is_err());
    }

    #[test]
    fn finds_the_resident_bytes_in_a_status_file() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t    1280 kB\nThreads:\t1\n"), Some(1_310_720));
        assert_eq!(parse_resident("Name:\tkthread\n"), None);
    }
}
