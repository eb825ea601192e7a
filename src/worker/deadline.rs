//! The time that a job may take.

use super::interrupt;
use crate::signals::Blocked;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// After the cancel, how long SQL that catches it may go on before the process ends.
const GRACE: Duration = Duration::from_secs(5);

/// Until dropped: a thread that ends the job when its time is over. It calls nothing of PostgreSQL's.
pub struct Deadline {
    /// Closed by the drop.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Deadline {
    /// `None` where there is no limit.
    pub fn start(limit: Option<Duration>) -> std::io::Result<Self> {
        let Some(limit) = limit else {
            return Ok(Self {
                running: None,
                thread: None,
            });
        };
        let (running, ended) = channel::<()>();
        let _blocked = Blocked::new();
        let thread = std::thread::Builder::new()
            .name("pg_ltv deadline".to_owned())
            .stack_size(64 << 10)
            .spawn(move || {
                if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    interrupt::time_is_over(libc::SIGINT);
                    if ended.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
                        interrupt::time_is_over(libc::SIGTERM);
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
