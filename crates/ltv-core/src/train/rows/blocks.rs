//! The rows of an epoch, block by block.

use super::Rows;
use super::batches::{self, Batches};
use super::feed::Feed;
use super::file::Spilled;
use super::prefetch::Prefetch;
use crate::error::Result;
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPool;
use std::thread::Scope;

/// The rows of an epoch: all at once, or in blocks of which one at a time is in memory.
pub enum Blocks<'scope, 'env, 'a> {
    Memory(&'scope Rows<'a>, Batches),
    File {
        spilled: &'scope Spilled<'a>,
        member: usize,
        order: Vec<u32>,
        current: Option<Box<(Rows<'a>, Batches)>>,
    },
    Prefetched(Box<Prefetch<'scope, 'env, 'a>>),
}

impl<'scope, 'env, 'a> Blocks<'scope, 'env, 'a> {
    /// What network `member` is trained on. With a `pool` blocks are prepared by a second thread.
    pub fn of(
        feed: &'scope Feed<'a>,
        member: usize,
        scope: &'scope Scope<'scope, 'env>,
        pool: Option<&'scope ThreadPool>,
        seed: u64,
    ) -> Self {
        let train = &feed.folds[member].train;
        match (&feed.spilled, feed.rows_per_block, pool) {
            (None, Some(at_once), Some(pool)) => {
                let rows = Some((train.as_slice(), at_once));
                let prefetch = Prefetch::new(feed, member, scope, pool, rows, seed);
                Self::Prefetched(Box::new(prefetch))
            }
            (None, ..) => Self::Memory(&feed.rows, feed.batches(train, &feed.data.target)),
            (Some(_), _, Some(pool)) => {
                let prefetch = Prefetch::new(feed, member, scope, pool, None, seed);
                Self::Prefetched(Box::new(prefetch))
            }
            (Some(spilled), ..) => Self::File {
                spilled,
                member,
                order: (0..spilled.rows.blocks()).collect(),
                current: None,
            },
        }
    }

    /// Blocks of an epoch.
    pub fn count(&self) -> usize {
        match self {
            Self::Memory(..) => 1,
            Self::File { order, .. } => order.len(),
            Self::Prefetched(prefetch) => prefetch.count(),
        }
    }

    /// Before each epoch.
    pub fn shuffle(&mut self, rng: &mut ChaCha8Rng) {
        if let Self::File { order, .. } = self {
            batches::shuffle(order, rng);
        }
    }

    /// The rows of a block and their batches.
    pub fn get(&mut self, feed: &Feed<'a>, block: usize) -> Result<(&Rows<'a>, &mut Batches)> {
        match self {
            Self::Memory(rows, batches) => Ok((rows, batches)),
            Self::Prefetched(prefetch) => {
                let (rows, batches) = prefetch.advance()?;
                Ok((rows, batches))
            }
            Self::File {
                spilled,
                member,
                order,
                current,
            } => {
                // Two blocks are never in memory together.
                *current = None;
                let data = spilled.block(order[block])?;
                let rows = feed.training_rows(&data, *member);
                let batches = feed.batches(&rows, &data.target);
                let data = Rows::Block(Box::new(data), feed.hardware);
                let (data, batches) = &mut **current.insert(Box::new((data, batches)));
                Ok((data, batches))
            }
        }
    }
}
