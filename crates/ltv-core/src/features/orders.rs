//! The orders of many customers in one piece of memory, in whatever order they come; then customer by customer, those sorted by the bytes
//! of their ids.
//!
//! An order takes two words. Where that comes to more than the memory allowed, customers with the larger ids are left for another pass
//! over the same orders.

use super::decimal::Decimal;
use super::log::{Entries, Key};
use crate::error::{Error, ErrorKind, Result};

/// The scale of an order whose amount lies among the large ones.
const LARGE: u8 = u8::MAX;
/// Added to days since 2000-01-01, which then take 24 bits.
const DAYS: i32 = 1 << 23;
/// How often memory is looked at.
const OFTEN: usize = 1 << 12;
/// What one customer may take, as a log of its own may.
const MOST: usize = 1 << 30;
/// Buckets of one step of the sort.
const BUCKET_BITS: u32 = 11;

/// Where the id of a customer lies.
#[derive(Clone, Copy)]
struct Customer {
    start: usize,
    length: usize,
}

/// Finds a customer. Most ids are short enough to be told apart by what is here, without a look at where they lie.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The id, or the hash of one that is longer.
    head: u64,
    /// How long the id is; [`LONG`] where that is more than the head holds.
    length: u32,
    /// The number of the customer from 1; 0 where there is none.
    number: u32,
}

const LONG: u32 = u32::MAX;

impl Slot {
    /// That of a customer without a number.
    #[inline]
    fn of(id: &[u8]) -> Self {
        let (head, length) = match id.len() {
            0..=8 => {
                let mut head = [0; 8];
                head[..id.len()].copy_from_slice(id);
                (u64::from_le_bytes(head), id.len() as u32)
            }
            _ => (hash(id), LONG),
        };
        Self {
            head,
            length,
            number: 0,
        }
    }

    #[inline]
    fn hash(self) -> u64 {
        match self.length {
            LONG => self.head,
            length => fold(self.head ^ ODD[1], ODD[0] ^ u64::from(length)),
        }
    }
}

/// Orders of the customers of one pass.
pub struct Orders {
    slots: Vec<Slot>,
    customers: Vec<Customer>,
    ids: Vec<u8>,
    /// Customer, day and scale; mantissa.
    orders: Vec<[u64; 2]>,
    /// Amounts whose mantissa takes more than a word.
    large: Vec<Decimal>,
    limit: usize,
    /// The first id of this pass, and the first one that is left for later.
    from: Vec<u8>,
    until: Option<Vec<u8>>,
}

/// Which of so many parts a customer belongs to.
#[inline]
pub fn part_of(id: &[u8], parts: usize) -> usize {
    (((Slot::of(id).hash() >> 32) * parts as u64) >> 32) as usize
}

impl Orders {
    /// Room for orders, in so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            customers: Vec::new(),
            ids: Vec::new(),
            orders: Vec::new(),
            large: Vec::new(),
            limit,
            from: Vec::new(),
            until: None,
        }
    }

    /// Adds an order, if the customer is one of this pass.
    ///
    /// # Errors
    /// Where there is no memory, or one customer alone has too many orders.
    #[inline]
    pub fn add(&mut self, id: &[u8], day: i32, amount: Decimal) -> Result<()> {
        if id < self.from.as_slice() || self.is_left(id) {
            return Ok(());
        }
        let slot = Slot::of(id);
        let customer = self.customer(id, slot, slot.hash())?;
        let day = day
            .checked_add(DAYS)
            .filter(|day| (0..2 * DAYS).contains(day));
        let day = day.ok_or_else(|| Error::data("a day is out of range"))? as u64;
        let (scale, mantissa) = match i64::try_from(amount.mantissa) {
            Ok(mantissa) => (amount.scale, mantissa as u64),
            Err(_) => {
                reserve(&mut self.large, 1)?;
                self.large.push(amount);
                (LARGE, self.large.len() as u64 - 1)
            }
        };
        reserve(&mut self.orders, 1)?;
        self.orders
            .push([customer << 32 | day << 8 | u64::from(scale), mantissa]);
        if self.orders.len().is_multiple_of(OFTEN) && self.bytes() > self.limit {
            self.leave_half()?;
        }
        Ok(())
    }

    /// The first id that is left for a later pass.
    pub fn until(&self) -> Option<&[u8]> {
        self.until.as_deref()
    }

    /// Leaves this id and those behind it for a later pass.
    pub fn leave_from(&mut self, id: &[u8]) {
        self.until = Some(id.to_vec());
    }

    #[inline]
    fn is_left(&self, id: &[u8]) -> bool {
        self.until().is_some_and(|until| id >= until)
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.slots[..])
            // Their order is found at the end.
            + self.customers.len() * (size_of::<Customer>() + size_of::<(u64, u32)>())
            + self.ids.len()
            + size_of_val(&self.orders[..])
            + size_of_val(&self.large[..])
    }

    fn id(&self, customer: usize) -> &[u8] {
        let place = self.customers[customer];
        &self.ids[place.start..place.start + place.length]
    }

    /// The number of a customer, who may be new.
    #[inline]
    fn customer(&mut self, id: &[u8], mut slot: Slot, hash: u64) -> Result<u64> {
        if 4 * (self.customers.len() + 1) > 3 * self.slots.len() {
            self.grow()?;
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let found = self.slots[at];
            if found.number == 0 {
                break;
            }
            let customer = found.number - 1;
            if (found.head, found.length) == (slot.head, slot.length)
                && (slot.length != LONG || self.id(customer as usize) == id)
            {
                return Ok(customer.into());
            }
            at = (at + 1) & mask;
        }
        let Ok(number) = u32::try_from(self.customers.len() + 1) else {
            return Err(no_memory());
        };
        reserve(&mut self.customers, 1)?;
        reserve(&mut self.ids, id.len())?;
        self.customers.push(Customer {
            start: self.ids.len(),
            length: id.len(),
        });
        self.ids.extend_from_slice(id);
        slot.number = number;
        self.slots[at] = slot;
        Ok((number - 1).into())
    }

    fn grow(&mut self) -> Result<()> {
        let size = (2 * self.slots.len()).max(1 << 10);
        let mut slots = Vec::new();
        slots.try_reserve_exact(size).map_err(|_| no_memory())?;
        slots.resize(size, Slot::default());
        let old = std::mem::replace(&mut self.slots, slots);
        for slot in old {
            if slot.number > 0 {
                self.put(slot);
            }
        }
        Ok(())
    }

    /// Puts a customer who is not there into the next slot that is free.
    fn put(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot.hash() as usize & mask;
        while self.slots[at].number > 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    /// Forgets the half of the customers that has the larger ids.
    fn leave_half(&mut self) -> Result<()> {
        let mut numbers: Vec<u32> = Vec::new();
        reserve(&mut numbers, self.customers.len())?;
        numbers.extend(0..self.customers.len() as u32);
        let middle = numbers.len() / 2;
        if middle == 0 {
            return match self.bytes() > MOST.max(self.limit) {
                true => Err(too_many()),
                false => Ok(()),
            };
        }
        numbers.select_nth_unstable_by(middle, |&a, &b| {
            self.id(a as usize).cmp(self.id(b as usize))
        });
        self.until = Some(self.id(numbers[middle] as usize).to_vec());
        // From old numbers to new ones.
        let stays = &mut numbers[..middle];
        stays.sort_unstable();
        let mut renumbered = Vec::new();
        reserve(&mut renumbered, self.customers.len())?;
        renumbered.resize(self.customers.len(), u32::MAX);
        let mut end = 0;
        for (new, &old) in stays.iter().enumerate() {
            renumbered[old as usize] = new as u32;
            let mut customer = self.customers[old as usize];
            let end_before = customer.start + customer.length;
            self.ids.copy_within(customer.start..end_before, end);
            customer.start = end;
            end += customer.length;
            self.customers[new] = customer;
        }
        self.customers.truncate(middle);
        self.ids.truncate(end);
        // Orders with large amounts are in the order of these.
        let (large, mut end) = (&mut self.large, 0);
        self.orders.retain_mut(|[key, mantissa]| {
            let new = renumbered[(*key >> 32) as usize];
            let stays = new != u32::MAX;
            if stays && *key as u8 == LARGE {
                large[end] = large[*mantissa as usize];
                *mantissa = end as u64;
                end += 1;
            }
            *key = u64::from(new) << 32 | *key & u64::from(u32::MAX);
            stays
        });
        large.truncate(end);
        self.slots.fill(Slot::default());
        for customer in 0..middle {
            let mut slot = Slot::of(self.id(customer));
            slot.number = customer as u32 + 1;
            self.put(slot);
        }
        Ok(())
    }

    /// Sorts what has been added. `pause` is called now and then, and may stop it.
    ///
    /// # Errors
    /// Where there is no memory, or `pause` says so.
    pub fn sorted<E: From<Error>>(
        &mut self,
        mut pause: impl FnMut() -> Result<(), E>,
    ) -> Result<Sorted<'_>, E> {
        // Beginnings of ids tell most of them apart.
        let mut ranked: Vec<(u64, u32)> = Vec::new();
        reserve(&mut ranked, self.customers.len())?;
        ranked.extend((0..self.customers.len()).map(|customer| {
            let mut beginning = [0; 8];
            let id = self.id(customer);
            let length = id.len().min(8);
            beginning[..length].copy_from_slice(&id[..length]);
            (u64::from_be_bytes(beginning), customer as u32)
        }));
        ranked.sort_unstable_by(|a, b| {
            (a.0.cmp(&b.0)).then_with(|| self.id(a.1 as usize).cmp(self.id(b.1 as usize)))
        });
        pause()?;
        // The slots are not needed any more until the next pass.
        self.slots = Vec::new();
        let mut ranks: Vec<u32> = Vec::new();
        reserve(&mut ranks, ranked.len())?;
        ranks.resize(ranked.len(), 0);
        for (rank, &(_, customer)) in ranked.iter().enumerate() {
            ranks[customer as usize] = rank as u32;
        }
        for [key, _] in &mut self.orders {
            let rank = ranks[(*key >> 32) as usize];
            *key = u64::from(rank) << 32 | *key & u64::from(u32::MAX);
        }
        sort(&mut self.orders, ranked.len(), pause)?;
        Ok(Sorted {
            customers: ranked.into_iter().map(|(_, customer)| customer).collect(),
            orders: self,
            next: 0,
        })
    }

    /// Begins the next pass; `false` if all customers have been in one.
    pub fn go_on(&mut self) -> bool {
        let Some(until) = self.until.take() else {
            return false;
        };
        self.from = until;
        self.slots = Vec::new();
        self.customers.clear();
        self.ids.clear();
        self.orders.clear();
        self.large.clear();
        true
    }
}

/// Customers one by one.
pub struct Sorted<'a> {
    orders: &'a Orders,
    /// By rank.
    customers: Vec<u32>,
    next: usize,
}

impl Sorted<'_> {
    /// The id of the next customer, whose orders are put into `entries`: one entry for each day.
    pub fn next(&mut self, entries: &mut Entries) -> Option<&[u8]> {
        let all = &self.orders.orders;
        let rank = all.get(self.next)?[0] >> 32;
        let customer = *self.customers.get(rank as usize)?;
        let id = self.orders.id(customer as usize);
        if self.orders.is_left(id) {
            return None;
        }
        let rest = &all[self.next..];
        let count = rest
            .iter()
            .take_while(|order| order[0] >> 32 == rank)
            .count();
        self.next += count;
        let amounts = rest[..count].iter().map(|&[key, mantissa]| {
            let (day, scale) = ((key >> 8) as i32 & (2 * DAYS - 1), key as u8);
            let amount = match scale {
                LARGE => self.orders.large[mantissa as usize],
                _ => Decimal {
                    mantissa: (mantissa as i64).into(),
                    scale,
                },
            };
            (day - DAYS, amount)
        });
        entries.clear();
        let scale = amounts.clone().map(|(_, amount)| amount.scale).max();
        let scale = scale.unwrap_or(0);
        entries.scales.push(scale);
        for (day, amount) in amounts {
            // An amount fits at any scale.
            let digits = amount.at(scale).unwrap_or(amount.mantissa);
            if let (Some(last), Some(sum)) = (entries.keys.last(), entries.values.last_mut())
                && last.day == day
                && let Some(both) = sum.checked_add(digits)
            {
                *sum = both;
                continue;
            }
            entries.keys.push(Key {
                day,
                time: day.into(),
                kind: 0,
                count: 1,
            });
            entries.values.push(digits);
        }
        Some(id)
    }
}

/// Sorts orders by rank and day: into buckets of ranks in their place, then each bucket.
fn sort<E>(
    orders: &mut [[u64; 2]],
    ranks: usize,
    mut pause: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    let bits = usize::BITS - ranks.saturating_sub(1).leading_zeros();
    let shift = 32 + bits.saturating_sub(BUCKET_BITS);
    let bucket = |order: &[u64; 2]| (order[0] >> shift) as usize;
    let mut ends = [0_usize; 1 << BUCKET_BITS];
    for order in &*orders {
        ends[bucket(order)] += 1;
    }
    let mut next = [0_usize; 1 << BUCKET_BITS];
    let mut before = 0;
    for (next, end) in next.iter_mut().zip(&mut ends) {
        *next = before;
        before += *end;
        *end = before;
    }
    for (at, &end) in ends.iter().enumerate() {
        while next[at] < end {
            let mut order = orders[next[at]];
            loop {
                let wanted = bucket(&order);
                std::mem::swap(&mut order, &mut orders[next[wanted]]);
                next[wanted] += 1;
                if wanted == at {
                    break;
                }
            }
        }
        pause()?;
    }
    let mut start = 0;
    for end in ends {
        orders[start..end].sort_unstable_by_key(|order| order[0]);
        start = end;
        pause()?;
    }
    Ok(())
}

const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn hash(id: &[u8]) -> u64 {
    let (words, rest) = id.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mut hash = ODD[1] ^ id.len() as u64;
    for &word in words {
        hash = fold(hash ^ u64::from_le_bytes(word), ODD[0]);
    }
    fold(
        hash ^ u64::from_le_bytes(last),
        ODD[0] ^ hash.rotate_left(32),
    )
}

#[inline]
fn reserve<T>(items: &mut Vec<T>, more: usize) -> Result<()> {
    items.try_reserve(more).map_err(|_| no_memory())
}

fn no_memory() -> Error {
    Error::new(ErrorKind::Resources, "out of memory").detail("The orders did not fit.")
}

fn too_many() -> Error {
    Error::new(ErrorKind::TooLarge, "a customer has too many rows")
        .detail("The log of a customer may take 1 GB, about 60 million orders.")
        .hint("Leave out the id that stands for many customers, such as that of guests, for example with WHERE in a query.")
}

#[cfg(test)]
mod tests;
