//! What ends a job: the time that it may take, and a cancel that its SQL does not heed.

use super::interrupt;
use crate::signals::Blocked;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// After the cancel, how long SQL that catches it may go on before the process ends.
const GRACE: Duration = Duration::from_secs(5);
/// How often a cancel is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Until dropped: a thread that watches over the running job. It calls nothing of PostgreSQL's.
pub struct Deadline {
    /// Closed by the drop.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Deadline {
    /// `None` where the job may take any time.
    pub fn start(limit: Option<Duration>) -> std::io::Result<Self> {
        let (running, ended) = channel::<()>();
        let begun = Instant::now();
        let mut told: Option<Instant> = None;
        let _blocked = Blocked::new();
        let thread = std::thread::Builder::new()
            .name("pg_ltv deadline".to_owned())
            .stack_size(64 << 10)
            .spawn(move || {
                while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                    let overdue = limit.is_some_and(|limit| begun.elapsed() >= limit);
                    match told {
                        None if interrupt::canceled() => told = Some(Instant::now()),
                        None if overdue => interrupt::time_is_over(),
                        Some(told) if told.elapsed() >= GRACE => interrupt::end_owners_code(),
                        _ => {}
                    }
                }
            })?;
        Ok(Self {
            running: Some(running),
            thread: Some(thread),
        })
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
