//! Places in the ring's table of registered files.
//!
//! A registered file saves the kernel a lookup and a reference per send. A socket gets a place when
//! it is first offered something: one that is in no room never pays for it.

use std::io;

use io_uring::Submitter;

/// Places of the table at most. A socket beyond them is sent to by its descriptor.
const FILES_MAX: u32 = 1 << 17;

/// Which places are free.
#[derive(Debug)]
pub(super) struct Files {
    free: Vec<u32>,
    next: u32,
    count: u32,
}

impl Files {
    /// Registers an empty table. The kernel allows as many places as the process may have open
    /// files; without a table everything works, somewhat slower.
    pub(super) fn new(submitter: &Submitter<'_>) -> Self {
        let count = open_files_max().unwrap_or(0).min(FILES_MAX);
        let is_there = count > 0 && submitter.register_files_sparse(count).is_ok();
        Self { free: Vec::new(), next: 0, count: if is_there { count } else { 0 } }
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| {
            let next = self.next;
            (next < self.count).then(|| {
                self.next += 1;
                next
            })
        })
    }

    pub(super) fn give_back(&mut self, file: u32) {
        self.free.push(file);
    }
}

fn open_files_max() -> io::Result<u32> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a struct of the type the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX))
}
