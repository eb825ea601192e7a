//! Other processes: who lives, whose children they are, what becomes of them.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub fn is_alive(pid: i32) -> bool {
    // A zombie is dead for our purposes.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

/// Whether nothing is left of a process, not even an entry that waits for its parent: PostgreSQL takes that for a life.
fn is_gone(pid: i32) -> bool {
    // SAFETY: a null status pointer is allowed; a process that is not our child is left alone.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
    !Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until nothing is left of any of them; a minute at most.
pub fn wait_until_gone(pids: &[i32]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while pids.iter().any(|pid| !is_gone(*pid)) {
        if Instant::now() > deadline {
            bail!("processes of the killed server are still there after a minute: {pids:?}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Servers outlive the pg_ctl that started them. Be the one who buries them, since not every container has someone who does.
pub fn adopt_orphans() {
    // SAFETY: this option takes one integer and only concerns this process.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

pub fn children_of(parent: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_string_lossy()
                .parse::<i32>()
                .ok()
        })
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
                // pid (name) state ppid ...
                let after = stat.rsplit(')').next().unwrap_or("");
                after.split_whitespace().nth(1) == Some(&parent.to_string())
            })
        })
        .collect()
}

pub fn signal(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: kill only takes integers.
    if unsafe { libc::kill(pid, signal) } != 0 {
        bail!(
            "cannot signal process {pid}: {}",
            std::io::Error::last_os_error()
        );
    }
    Ok(())
}
