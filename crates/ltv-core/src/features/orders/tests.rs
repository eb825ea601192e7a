//! Orders that come in any order beside maps of maps.

use super::*;
use std::collections::BTreeMap;

/// What is spent on each day, in units of the smallest scale.
type Days = BTreeMap<i32, i128>;

struct Order {
    id: Vec<u8>,
    day: i32,
    amount: Decimal,
}

/// Ids of all lengths, of which many begin alike; negative and large amounts of several scales.
fn log() -> Vec<Order> {
    let mut state = 1_u64;
    let mut random = move |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % n
    };
    (0..60_000)
        .map(|_| {
            let number = random(3_000).min(random(3_000));
            let id = match number % 4 {
                0 => format!("the same beginning {number}").into_bytes(),
                1 => (number ^ 1 << 63).to_be_bytes().to_vec(),
                2 => vec![0; number as usize / 100],
                _ => number.to_string().into_bytes(),
            };
            let (mantissa, least_scale) = match random(5) {
                0 => (i128::from(random(1 << 30)) << 40, 14),
                1 => (-i128::from(random(100_000)), 0),
                _ => (random(100_000).into(), 0),
            };
            let scale = (least_scale + random(5)) as i32;
            Order {
                id,
                day: random(400) as i32 * random(30) as i32 - 4_000,
                amount: Decimal::new(mantissa, -scale).unwrap(),
            }
        })
        .collect()
}

fn expected(log: &[Order]) -> BTreeMap<Vec<u8>, Days> {
    let mut all: BTreeMap<Vec<u8>, Days> = BTreeMap::new();
    for order in log {
        let days = all.entry(order.id.clone()).or_default();
        *days.entry(order.day).or_default() += order.amount.at(18).unwrap();
    }
    all
}

/// Customers in the order in which they came out, and how many passes that took.
fn made(log: &[Order], mut orders: Orders) -> (Vec<(Vec<u8>, Days)>, usize) {
    let (mut all, mut passes) = (Vec::new(), 0);
    loop {
        for order in log {
            orders.add(&order.id, order.day, order.amount).unwrap();
        }
        passes += 1;
        let mut sorted = orders.sorted(|| Ok::<_, Error>(())).unwrap();
        let mut entries = Entries::default();
        while let Some(id) = sorted.next(&mut entries) {
            let id = id.to_vec();
            assert!(entries.keys.is_sorted_by(|a, b| a.day < b.day));
            let unit = Decimal {
                mantissa: 1,
                scale: entries.scales[0],
            };
            let unit = unit.at(18).unwrap();
            let days = entries.iter().map(|(key, sum)| (key.day, sum[0] * unit));
            all.push((id, days.collect()));
        }
        if !orders.go_on() {
            return (all, passes);
        }
    }
}

#[test]
fn customers_come_out_once_in_the_order_of_their_ids_whatever_the_memory() {
    let log = log();
    let expected: Vec<_> = expected(&log).into_iter().collect();
    for (limit, least_passes) in [(usize::MAX, 1), (1 << 20, 2), (1 << 18, 5), (0, 10)] {
        let (all, passes) = made(&log, Orders::new(limit));
        assert!(all == expected, "limit {limit}");
        assert!(passes >= least_passes, "{passes} passes with {limit}");
    }
}

#[test]
fn customers_may_be_left_for_a_later_pass() {
    let log = log();
    let expected: Vec<_> = expected(&log).into_iter().collect();
    let middle = expected[expected.len() / 2].0.clone();
    let mut orders = Orders::new(usize::MAX);
    for order in &log {
        orders.add(&order.id, order.day, order.amount).unwrap();
    }
    orders.leave_from(&middle);
    let mut sorted = orders.sorted(|| Ok::<_, Error>(())).unwrap();
    let mut entries = Entries::default();
    let mut before = Vec::new();
    while let Some(id) = sorted.next(&mut entries) {
        before.push(id.to_vec());
    }
    assert!(
        before
            .iter()
            .eq(expected[..before.len()].iter().map(|(id, _)| id))
    );
    assert!(orders.go_on());
    let (after, _) = made(&log, orders);
    assert!(after == expected[before.len()..]);
}

#[test]
fn days_that_cannot_be_are_refused_and_sorting_can_be_stopped() {
    let mut orders = Orders::new(usize::MAX);
    for day in [i32::MIN, -DAYS - 1, DAYS, i32::MAX] {
        assert!(orders.add(b"a", day, Decimal::default()).is_err());
    }
    for day in [-DAYS, DAYS - 1] {
        orders.add(b"a", day, Decimal::default()).unwrap();
    }
    let stopped = orders.sorted(|| Err(Error::data("stopped")));
    assert_eq!(stopped.err().unwrap().message, "stopped");
}
