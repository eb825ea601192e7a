//! Rows that do not fit onto a device: while one block is trained on, a second thread gathers the next one and sends it
//! there. Two blocks are on the device at most.

use super::batches::{self, Batches};
use super::feed::Feed;
use super::{Resident, Rows};
use crate::error::{Error, ErrorKind, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::panic::resume_unwind;
use std::thread::{Scope, ScopedJoinHandle};

type Prepared<'a> = (Rows<'a>, Batches);

pub struct Prefetch<'scope, 'env, 'a> {
    feed: &'scope Feed<'a>,
    member: usize,
    scope: &'scope Scope<'scope, 'env>,
    /// What the second thread computes with: one thread, and none of the training's.
    pool: &'scope ThreadPool,
    order: Order,
    current: Option<Prepared<'a>>,
    next: Option<ScopedJoinHandle<'scope, Result<Prepared<'a>>>>,
}

/// The blocks of one epoch after the other, in an order of their own.
struct Order {
    rng: ChaCha8Rng,
    position: usize,
    blocks: Blocks,
}

enum Blocks {
    /// Of a file, by number.
    File(Vec<u32>),
    /// Of rows in memory, so many at a time.
    Rows(Vec<u32>, usize),
}

enum Block {
    File(u32),
    Rows(Vec<u32>),
}

/// For the second thread.
pub fn pool() -> Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(1)
        .thread_name(|_| "pg_ltv rows".to_owned())
        .build();
    pool.map_err(|error| {
        Error::new(
            ErrorKind::Resources,
            "could not start a thread for the rows",
        )
        .detail(error.to_string())
        .hint("Check the limits of the server's user on processes and memory.")
    })
}

impl<'scope, 'env, 'a> Prefetch<'scope, 'env, 'a> {
    /// Training rows of a file, or `rows` of those in memory, `at_once` per block.
    pub fn new(
        feed: &'scope Feed<'a>,
        member: usize,
        scope: &'scope Scope<'scope, 'env>,
        pool: &'scope ThreadPool,
        rows: Option<(&[u32], usize)>,
        seed: u64,
    ) -> Self {
        let blocks = match (rows, &feed.spilled) {
            (Some((rows, at_once)), _) => Blocks::Rows(rows.to_vec(), at_once.max(1)),
            (None, Some(spilled)) => Blocks::File((0..spilled.rows.blocks()).collect()),
            (None, None) => Blocks::File(Vec::new()),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Others draw the order within blocks, and dropout.
        rng.set_stream(u64::MAX);
        Self {
            feed,
            member,
            scope,
            pool,
            order: Order {
                rng,
                position: 0,
                blocks,
            },
            current: None,
            next: None,
        }
    }

    /// Blocks of an epoch.
    pub fn count(&self) -> usize {
        self.order.count()
    }

    /// The next block; meanwhile the one after it is prepared.
    pub fn advance(&mut self) -> Result<&mut Prepared<'a>> {
        let begun = match self.next.take() {
            Some(begun) => begun,
            None => self.begin(),
        };
        // Before the old block goes, the new one is complete; before one more begins, the old one is gone.
        let prepared = begun.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        self.current = None;
        self.next = Some(self.begin());
        Ok(self.current.insert(prepared))
    }

    fn begin(&mut self) -> ScopedJoinHandle<'scope, Result<Prepared<'a>>> {
        let block = self.order.next();
        let (feed, member, pool) = (self.feed, self.member, self.pool);
        self.scope
            .spawn(move || pool.install(|| prepare(feed, member, block)))
    }
}

impl Order {
    fn count(&self) -> usize {
        match &self.blocks {
            Blocks::File(blocks) => blocks.len(),
            Blocks::Rows(rows, at_once) => rows.len().div_ceil(*at_once),
        }
    }

    fn next(&mut self) -> Block {
        let count = self.count().max(1);
        let position = self.position % count;
        let all = match &mut self.blocks {
            Blocks::File(blocks) => blocks,
            Blocks::Rows(rows, _) => rows,
        };
        if position == 0 {
            batches::shuffle(all, &mut self.rng);
        }
        self.position = position + 1;
        match &self.blocks {
            Blocks::File(blocks) => Block::File(blocks.get(position).copied().unwrap_or(0)),
            // Blocks of nearly equal size, so that no batch is much smaller than the others.
            Blocks::Rows(rows, _) => {
                let from = position * rows.len() / count;
                Block::Rows(rows[from..(position + 1) * rows.len() / count].to_vec())
            }
        }
    }
}

fn prepare<'a>(feed: &Feed<'a>, member: usize, block: Block) -> Result<Prepared<'a>> {
    let all = |count: usize| -> Vec<u32> { (0..count as u32).collect() };
    let device = &feed.hardware.device;
    match (block, &feed.spilled) {
        (Block::Rows(rows), _) => {
            let target: Vec<f32> = rows.iter().map(|&r| feed.data.target[r as usize]).collect();
            let resident = Resident::copy(feed.data, &rows, device)?;
            let batches = feed.batches(&all(target.len()), &target);
            Ok((Rows::Device(resident), batches))
        }
        (Block::File(block), Some(spilled)) => {
            let data = spilled.block(block)?;
            let rows = feed.training_rows(&data, member);
            if data.rows * data.bytes_per_row() > feed.block_room {
                let batches = feed.batches(&rows, &data.target);
                return Ok((Rows::Block(Box::new(data), feed.hardware), batches));
            }
            let target: Vec<f32> = rows.iter().map(|&r| data.target[r as usize]).collect();
            let resident = Resident::copy(&data, &rows, device)?;
            let batches = feed.batches(&all(rows.len()), &target);
            Ok((Rows::Device(resident), batches))
        }
        (Block::File(_), None) => Err(Error::internal("there is no file of rows")),
    }
}
