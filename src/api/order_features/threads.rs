//! Threads that make features of orders while the main thread reads these and writes the rows. They know nothing of PostgreSQL, get no
//! signals, and have ended when what started them returns or raises.

use crate::error::{Report, Result, unexpected};
use crate::signals::Blocked;
use ltv_core::error::Error;
use ltv_core::features::blocks::{Block, Blocks, Customer, Maker, merge};
use ltv_core::features::decimal::Decimal;
use ltv_core::features::orders::part_of;
use pgrx::pg_sys;
use pgrx::prelude::PgSqlErrorCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

/// More of them would wait for the main thread.
const MOST: i32 = 16;
/// Orders that go to a thread at once.
const BATCH: usize = 2048;
/// And bytes of ids.
const BATCH_BYTES: usize = 1 << 20;
/// Batches and blocks that wait for the one who takes them.
const AHEAD: usize = 4;
/// Between two looks for interrupts.
const TICK: Duration = Duration::from_millis(20);

/// As many as PostgreSQL would have processes help.
pub fn number() -> usize {
    // SAFETY: settings.
    let allowed =
        unsafe { pg_sys::max_parallel_workers_per_gather.min(pg_sys::max_parallel_workers) };
    allowed.clamp(0, MOST) as usize
}

/// Customer, day and amount.
pub type Add<'a> = dyn FnMut(&[u8], i32, Decimal) -> Result<()> + 'a;

/// Gives what is read to the makers, a thread for each if there are to be any.
pub fn add(
    makers: &mut [Maker],
    threaded: bool,
    read: impl FnOnce(&mut Add) -> Result<()>,
) -> Result<()> {
    if !threaded {
        return read(&mut |id, day, amount| {
            let maker = &mut makers[part_of(id, makers.len())];
            Ok(maker.orders.add(id, day, amount)?)
        });
    }
    thread::scope(|scope| {
        let lanes: Result<Vec<Lane>> = (makers.iter_mut())
            .map(|maker| Lane::start(scope, maker))
            .collect();
        let mut lanes = lanes?;
        let parts = lanes.len();
        read(&mut |id, day, amount| lanes[part_of(id, parts)].add(id, day, amount))?;
        lanes.into_iter().try_for_each(Lane::end)
    })
}

/// Takes the rows of all makers in the order of the ids, a thread for each maker if there are to be any.
pub fn rows(
    makers: &mut [Maker],
    threaded: bool,
    take: impl FnMut(&Customer) -> Result<()>,
) -> Result<()> {
    if !threaded {
        let interruptible = || {
            pgrx::check_for_interrupts!();
            Ok::<_, Report>(())
        };
        let blocks: Result<Vec<Blocks>> = (makers.iter_mut())
            .map(|maker| maker.blocks(interruptible))
            .collect();
        let mut blocks = blocks?;
        return merge(
            blocks.len(),
            |maker| {
                pgrx::check_for_interrupts!();
                Ok(blocks[maker].next_block()?)
            },
            take,
        );
    }
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&stopped);
        let lanes: Result<Vec<Receiver<_>>> = (makers.iter_mut())
            .map(|maker| {
                let (sender, receiver) = sync_channel(AHEAD);
                let stopped = &stopped;
                spawn(scope, move || {
                    if let Err(error) = send(maker, stopped, &sender) {
                        // Nobody may wait for it any more.
                        let _ = sender.send(Err(error));
                    }
                })?;
                Ok(receiver)
            })
            .collect();
        let lanes = lanes?;
        merge(lanes.len(), |lane| receive(&lanes[lane]), take)
    })
}

/// What goes to a thread.
#[derive(Default)]
struct Batch {
    ids: Vec<u8>,
    /// Length of the id, day, amount.
    orders: Vec<(usize, i32, Decimal)>,
}

/// The way to a thread that adds orders.
struct Lane<'scope> {
    sender: SyncSender<Batch>,
    batch: Batch,
    thread: Option<ScopedJoinHandle<'scope, Result<(), Error>>>,
}

impl<'scope> Lane<'scope> {
    fn start<'a: 'scope>(scope: &'scope Scope<'scope, '_>, maker: &'a mut Maker) -> Result<Self> {
        let (sender, batches) = sync_channel::<Batch>(AHEAD);
        let thread = spawn(scope, move || {
            for batch in batches {
                let mut ids = batch.ids.as_slice();
                for (length, day, amount) in batch.orders {
                    let (id, rest) = ids.split_at(length);
                    maker.orders.add(id, day, amount)?;
                    ids = rest;
                }
            }
            Ok(())
        })?;
        Ok(Self {
            sender,
            batch: Batch::default(),
            thread: Some(thread),
        })
    }

    #[inline]
    fn add(&mut self, id: &[u8], day: i32, amount: Decimal) -> Result<()> {
        self.batch.ids.extend_from_slice(id);
        self.batch.orders.push((id.len(), day, amount));
        if self.batch.orders.len() == BATCH || self.batch.ids.len() > BATCH_BYTES {
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        let next = Batch {
            ids: Vec::with_capacity(self.batch.ids.capacity()),
            orders: Vec::with_capacity(BATCH),
        };
        let batch = std::mem::replace(&mut self.batch, next);
        match self.sender.send(batch) {
            Ok(()) => Ok(()),
            // It ends early only where something is wrong.
            Err(_) => ended(self.thread.take()).and(Err(gone())),
        }
    }

    fn end(mut self) -> Result<()> {
        self.send()?;
        drop(self.sender);
        ended(self.thread)
    }
}

fn ended(thread: Option<ScopedJoinHandle<Result<(), Error>>>) -> Result<()> {
    match thread.map(ScopedJoinHandle::join) {
        Some(Ok(outcome)) => Ok(outcome?),
        _ => Err(gone()),
    }
}

/// Says that nobody waits any more when what started the threads ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn send(
    maker: &mut Maker,
    stopped: &AtomicBool,
    to: &SyncSender<Result<Block, Error>>,
) -> Result<(), Error> {
    let mut blocks = maker.blocks(|| match stopped.load(Relaxed) {
        true => Err(Error::cancelled()),
        false => Ok(()),
    })?;
    while let Some(block) = blocks.next_block()? {
        if to.send(Ok(block)).is_err() {
            break;
        }
    }
    Ok(())
}

fn receive(from: &Receiver<Result<Block, Error>>) -> Result<Option<Block>> {
    loop {
        match from.recv_timeout(TICK) {
            Ok(block) => return Ok(Some(block?)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                pgrx::check_for_interrupts!();
            }
        }
    }
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let _blocked = Blocked::new();
    (thread::Builder::new().spawn_scoped(scope, work)).map_err(|error| {
        Report::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            "a thread could not be started",
        )
        .detail(format!("{error}."))
        .hint("Lower max_parallel_workers_per_gather; with 0 there are none.")
    })
}

fn gone() -> Report {
    unexpected("a thread ended before its work did")
}
