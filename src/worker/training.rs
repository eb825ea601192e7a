//! The compute thread, and what the main thread does while it computes.
//!
//! The thread never calls PostgreSQL and receives no signals. The main thread waits on its latch, writes the
//! progress down in transactions of its own and passes a cancel on; it never leaves before the thread has ended.

use super::gpu::Gpu;
use super::session::{self, Identity, unexpected};
use super::{interrupt, lock, memory, trial};
use crate::allocator::{self, Reserve};
use crate::error::{Report, Result, log, panic_report};
use crate::signals::Blocked;
use crate::value::sql::{nullable_parameter, parameter, readable_parameter, text_parameter};
use ltv_core::data::TrainingData;
use ltv_core::recipe::Recipe;
use ltv_core::train::{Control, Progress, TrainedModel, train};
use parking_lot::Mutex;
use pgrx::Spi;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Milliseconds between two looks at the memory.
const LOOK_EVERY: i64 = 20;

/// Time between two writes of the progress.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The deepest recursion is in the graph of a model, well within this.
const STACK: usize = 16 << 20;

/// What the two threads share.
struct Link {
    /// The newest progress that has not been written down.
    progress: Mutex<Option<Progress>>,
    /// What the user should know of a training that goes on.
    notices: Mutex<Vec<String>>,
    stop: Arc<AtomicBool>,
}

impl Control for Link {
    fn progress(&self, progress: Progress) {
        *self.progress.lock() = Some(progress);
    }
    fn notice(&self, text: &str) {
        self.notices.lock().push(text.to_owned());
    }
    fn is_cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The thread; ends with it whatever happens.
struct Computation {
    link: Arc<Link>,
    thread: Option<JoinHandle<Result<TrainedModel>>>,
    /// The thread holds the other side, and closes it when it ends.
    end: UnixStream,
    /// Given back last.
    _reserve: Reserve,
}

impl Computation {
    fn start(work: Work) -> Result<Self> {
        keep_freed_memory();
        let reserve = Reserve::hold();
        let link = Arc::new(Link {
            progress: Mutex::new(None),
            notices: Mutex::new(Vec::new()),
            stop: interrupt::stop_flag(),
        });
        let control = link.clone();
        let refused = |error: std::io::Error| {
            Report::new(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                "could not start a thread for the training",
            )
            .detail(format!("{error}."))
            .hint("Check the limits of the server's user on processes and memory.")
        };
        let (end, held) = UnixStream::pair().map_err(refused)?;
        let blocked = Blocked::new();
        let thread = std::thread::Builder::new()
            .name("pg_ltv training".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let _held = held;
                // Here, because the place of a panic is known to its own thread only.
                catch_unwind(AssertUnwindSafe(|| work.run(&*control))).map_or_else(
                    |payload| {
                        Err(panic_report(payload.as_ref())
                            .unwrap_or_else(|| unexpected("the training panicked")))
                    },
                    |outcome| Ok(outcome?),
                )
            });
        drop(blocked);
        Ok(Self {
            link,
            thread: Some(thread.map_err(refused)?),
            end,
            _reserve: reserve,
        })
    }

    fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// A thread that waits for memory ends with the process only.
    fn abandon(mut self) -> Report {
        self.link.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take());
        Report::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, "out of memory")
            .detail("The system refused memory to the worker while it trained.")
            .hint(
                "Lower ltv.training_memory, so that more rows go to temporary files, use fewer threads or a smaller network, \
                 or give the server's processes more memory.",
            )
    }

    fn join(mut self) -> Result<TrainedModel> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            _ => Err(unexpected("the training thread ended without a result")),
        }
    }
}

impl Drop for Computation {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.link.stop.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
    }
}

/// Tensors come and go with each batch: by default glibc maps and unmaps every large one, which costs page faults.
/// The process ends with the job, so what it keeps is not lost for long.
fn keep_freed_memory() {
    /// The largest that glibc accepts.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    const LARGE: i32 = 32 << 20;

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: settings of the allocator, which may be changed at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// What the thread does.
pub struct Work {
    pub data: TrainingData,
    pub recipe: Recipe,
    /// The recipe as the job has it.
    pub asked: serde_json::Value,
    pub gpu: Option<Gpu>,
}

impl Work {
    fn run(mut self, control: &dyn Control) -> ltv_core::error::Result<TrainedModel> {
        match self.gpu {
            Some(gpu) => gpu.train(self.data, &self.recipe, &self.asked, control),
            None => {
                "cpu".clone_into(&mut self.recipe.options.device);
                train(self.data, &self.recipe, control)
            }
        }
    }
}

/// Trains in a thread and reports meanwhile. With the model comes what the trainer had to say.
pub fn run(work: Work, job: i64) -> Result<(TrainedModel, Vec<String>)> {
    let computation = Computation::start(work)?;
    trial::prepare();
    let began = Instant::now();
    let mut reported: Option<Instant> = None;
    while computation.is_running() {
        session::wait_for(computation.end.as_fd(), LOOK_EVERY);
        if allocator::exhausted() {
            return Err(computation.abandon());
        }
        memory::watch();
        if !session::serve_interrupts() {
            interrupt::cancel();
        }
        if reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            let progress = computation.link.progress.lock().take();
            if progress.is_some() {
                reported = Some(Instant::now());
                report(job, progress.as_ref());
            } else if began.elapsed() >= REPORT_EVERY {
                reported = Some(Instant::now());
            }
        }
    }
    let link = computation.link.clone();
    let model = computation.join()?;
    // What the last epochs had to say.
    if let Some(progress) = link.progress.lock().take() {
        report(job, Some(&progress));
    }
    let notices = std::mem::take(&mut *link.notices.lock());
    Ok((model, notices))
}

/// Writes the progress down. A failure costs one report, not the job.
fn report(job: i64, progress: Option<&Progress>) {
    let Some(progress) = progress else { return };
    match write(job, progress) {
        Ok(()) => {}
        Err(_) if interrupt::canceled() => {}
        Err(report) => log(format!(
            "pg_ltv job {job}: could not write its progress: {}",
            report.message
        )),
    }
}

fn write(job: i64, progress: &Progress) -> Result<()> {
    let epochs = (progress.epochs > 0).then_some(progress.epochs as i32);
    let rows = Some(progress.rows as i64).filter(|&rows| rows > 0);
    let rows_per_second = Some(progress.rows_per_second).filter(|&rate| rate > 0.0);
    report_progress(&[
        parameter(job)?,
        text_parameter(progress.phase.name())?,
        readable_parameter(progress.step.as_deref()),
        nullable_parameter(epochs.map(|_| progress.epoch as i32))?,
        nullable_parameter(epochs)?,
        nullable_parameter(rows)?,
        nullable_parameter(rows_per_second)?,
        nullable_parameter(progress.training_loss)?,
        nullable_parameter(progress.validation_loss)?,
        nullable_parameter(progress.eta_seconds)?,
        parameter(memory::most().unwrap_or(progress.memory_bytes as i64))?,
    ])
}

/// Writes a phase that the trainer does not know of.
pub fn report_phase(job: i64, phase: &str, rows: Option<i64>) -> Result<()> {
    report_progress(&[
        parameter(job)?,
        text_parameter(phase)?,
        text_parameter(None)?,
        nullable_parameter(None::<i32>)?,
        nullable_parameter(None::<i32>)?,
        nullable_parameter(rows)?,
        nullable_parameter(None::<f64>)?,
        nullable_parameter(None::<f64>)?,
        nullable_parameter(None::<f64>)?,
        nullable_parameter(None::<f64>)?,
        nullable_parameter(memory::most())?,
    ])
}

fn report_progress(arguments: &[DatumWithOid; 11]) -> Result<()> {
    session::transaction(|| {
        session::commit_without_waiting();
        lock::check_catalog()?;
        let _catalog = Identity::catalog_owner()?;
        Spi::connect_mut(|client| {
            client
                .update(
                    "SELECT ltv.report_progress($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                    None,
                    arguments,
                )
                .map_err(unexpected)?;
            Ok(())
        })
    })
}
