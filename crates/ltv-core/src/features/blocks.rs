//! Rows of features in blocks. Several makers, each with customers of its own, may be at work at once; what they make is put in order.

use super::grid::Steps;
use super::orders::{Orders, Sorted};
use super::plan::Plan;
use super::walk::Walker;
use crate::error::{Error, Result};

/// A block ends with the customer who brings it to so many numbers.
const ENOUGH: usize = 1 << 14;

/// Makes the rows of the customers whose orders it has.
pub struct Maker {
    /// The orders.
    pub orders: Orders,
    walker: Walker,
    log_end: Option<i64>,
    /// Numbers of a row.
    width: usize,
}

impl Maker {
    /// A maker without orders, which may take so many bytes.
    pub fn new(plan: Plan, log_end: Option<i64>, limit: usize) -> Self {
        Self {
            orders: Orders::new(limit),
            width: plan.numbers(),
            walker: Walker::new(plan),
            log_end,
        }
    }

    /// Sorts what has been added. `pause` is called now and then, and may stop it.
    ///
    /// # Errors
    /// Where there is no memory, or `pause` says so.
    pub fn blocks<E: From<Error>>(
        &mut self,
        pause: impl FnMut() -> Result<(), E>,
    ) -> Result<Blocks<'_>, E> {
        Ok(Blocks {
            sorted: self.orders.sorted(pause)?,
            walker: &mut self.walker,
            log_end: self.log_end,
            width: self.width,
        })
    }
}

/// What one leaves for a later pass, all leave, for then ids come in their order.
pub fn leave_alike(makers: &mut [Maker]) {
    let until = makers.iter().filter_map(|maker| maker.orders.until()).min();
    if let Some(until) = until.map(<[u8]>::to_vec) {
        makers
            .iter_mut()
            .for_each(|maker| maker.orders.leave_from(&until));
    }
}

/// Whether there is another pass, which all are made ready for.
pub fn go_on(makers: &mut [Maker]) -> bool {
    makers
        .iter_mut()
        .fold(false, |goes_on, maker| maker.orders.go_on() | goes_on)
}

/// The blocks of a maker, in the order of the ids.
pub struct Blocks<'a> {
    sorted: Sorted<'a>,
    walker: &'a mut Walker,
    log_end: Option<i64>,
    width: usize,
}

impl Blocks<'_> {
    /// The next block, with a customer at least.
    ///
    /// # Errors
    /// Where amounts add up to more than can be counted, or a sequence is too large.
    pub fn next_block(&mut self) -> Result<Option<Block>> {
        let mut block = Block {
            width: self.width,
            ..Block::default()
        };
        let mut steps = 0;
        while block.numbers.len() + block.ids.len() / 8 + steps < ENOUGH {
            let (sorted, ids) = (&mut self.sorted, &mut block.ids);
            let is_there = self.walker.begin_with(self.log_end, |entries| {
                let id = sorted.next(entries);
                id.map(|id| ids.extend_from_slice(id))
            })?;
            if is_there.is_none() {
                break;
            }
            while let Some(row) = self.walker.next_row()? {
                let moment = row[0];
                block.numbers.extend_from_slice(row);
                if self.walker.has_sequence() {
                    let sequence = self.walker.sequence(moment)?;
                    steps += sequence.as_ref().map_or(0, |s| s.numbers.len());
                    block.sequences.push(sequence);
                }
            }
            block.end_customer();
        }
        Ok((!block.ends.is_empty()).then_some(block))
    }
}

/// Rows of some customers.
#[derive(Debug, Default)]
pub struct Block {
    /// For each customer where the id ends and how many rows there are up to it.
    ends: Vec<(usize, usize)>,
    ids: Vec<u8>,
    numbers: Vec<f64>,
    /// One for each row where there are sequences.
    sequences: Vec<Option<Steps>>,
    width: usize,
}

impl Block {
    /// Forgets the customer if no row was added.
    fn end_customer(&mut self) {
        let (id, rows) = self.ends.last().copied().unwrap_or_default();
        let end = self.numbers.len() / self.width;
        if end == rows {
            self.ids.truncate(id);
        } else {
            self.ends.push((self.ids.len(), end));
        }
    }

    fn customer(&self, at: usize) -> Customer<'_> {
        let before = match at {
            0 => (0, 0),
            _ => self.ends[at - 1],
        };
        let end = self.ends[at];
        Customer {
            id: &self.ids[before.0..end.0],
            numbers: &self.numbers[before.1 * self.width..end.1 * self.width],
            sequences: self.sequences.get(before.1..end.1).unwrap_or_default(),
            width: self.width,
        }
    }
}

/// The rows of one customer.
pub struct Customer<'a> {
    /// The bytes of the id.
    pub id: &'a [u8],
    numbers: &'a [f64],
    sequences: &'a [Option<Steps>],
    width: usize,
}

impl<'a> Customer<'a> {
    /// Numbers as [`Walker::next_row`] gives them, and the sequence if there is one.
    pub fn rows(&self) -> impl Iterator<Item = (&'a [f64], Option<&'a Steps>)> {
        let sequences = self.sequences;
        let sequence = move |at| sequences.get(at).and_then(Option::as_ref);
        (self.numbers.chunks_exact(self.width).enumerate())
            .map(move |(at, numbers)| (numbers, sequence(at)))
    }
}

/// Takes all customers of so many makers in the order of their ids; `next` gives the next block of a maker.
///
/// # Errors
/// Those of `next` and `take`.
pub fn merge<E>(
    makers: usize,
    mut next: impl FnMut(usize) -> Result<Option<Block>, E>,
    mut take: impl FnMut(&Customer) -> Result<(), E>,
) -> Result<(), E> {
    // Maker, block, and which of its customers comes next.
    let mut heads = Vec::with_capacity(makers);
    for maker in 0..makers {
        heads.extend(next(maker)?.map(|block| (maker, block, 0)));
    }
    loop {
        let ids = heads.iter().map(|(_, block, at)| block.customer(*at).id);
        let Some((first, _)) = ids.enumerate().min_by_key(|&(_, id)| id) else {
            return Ok(());
        };
        let (maker, block, at) = &mut heads[first];
        take(&block.customer(*at))?;
        *at += 1;
        if *at == block.ends.len() {
            match next(*maker)? {
                Some(more) => (*block, *at) = (more, 0),
                None => drop(heads.swap_remove(first)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decimal::Decimal;
    use super::super::orders::part_of;
    use super::*;

    const PLAN: &str = r#"{"instants": false, "windows": [30], "sequence": {"steps": 3},
        "looks": [{"time": 100, "day": 100, "until": [200]}, {"time": 150, "day": 150, "until": [250]}]}"#;

    /// Id, bits of the numbers, sequence.
    type Row = (Vec<u8>, Vec<u64>, Vec<f32>);

    /// Rows made by so many makers in several passes.
    fn made(makers: usize, limit: usize) -> (Vec<Row>, usize) {
        let plan = Plan::from_json(PLAN).unwrap();
        let mut makers: Vec<Maker> = (0..makers)
            .map(|_| Maker::new(plan.clone(), Some(300), limit))
            .collect();
        let parts = makers.len();
        let (mut all, mut passes) = (Vec::new(), 0);
        loop {
            passes += 1;
            for order in 0..50_000_u32 {
                let id = (order.wrapping_mul(2_654_435_761) % 9_000).to_string();
                let amount = Decimal::new((order % 700).into(), -2).unwrap();
                let day = (order % 287) as i32;
                makers[part_of(id.as_bytes(), parts)]
                    .orders
                    .add(id.as_bytes(), day, amount)
                    .unwrap();
            }
            leave_alike(&mut makers);
            let mut blocks: Vec<Blocks> = makers
                .iter_mut()
                .map(|maker| maker.blocks(|| Ok::<_, Error>(())).unwrap())
                .collect();
            let next = |maker: usize| blocks[maker].next_block();
            merge(parts, next, |customer| {
                for (numbers, steps) in customer.rows() {
                    let bits = numbers.iter().map(|n| n.to_bits()).collect();
                    let steps = steps.map_or(Vec::new(), |steps| steps.numbers.clone());
                    all.push((customer.id.to_vec(), bits, steps));
                }
                Ok(())
            })
            .unwrap();
            if !go_on(&mut makers) {
                return (all, passes);
            }
        }
    }

    #[test]
    fn rows_are_the_same_however_many_makers_and_passes_there_are() {
        let (alone, passes) = made(1, usize::MAX);
        assert_eq!(passes, 1);
        assert!(alone.len() > 10_000 && alone.is_sorted_by(|a, b| a.0 <= b.0));
        for (makers, limit, least_passes) in [(3, usize::MAX, 1), (2, 1 << 18, 2), (5, 0, 3)] {
            let (together, passes) = made(makers, limit);
            assert!(together == alone, "{makers} makers, {limit} bytes");
            assert!(passes >= least_passes, "{passes} passes");
        }
    }
}
