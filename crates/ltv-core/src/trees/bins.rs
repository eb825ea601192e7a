//! From the values of a feature to bins.

use serde::{Deserialize, Serialize};

/// Bins of a feature, the one of missing values included: a bin is a byte.
pub const MOST_BINS: usize = 256;
/// Values, at equal distances, that borders are chosen by.
const SAMPLE: usize = 200_000;

/// How the values of one feature become bins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bins {
    /// A number is in the first bin whose border is not below it, in the last one if all are. After that comes the bin of missing values.
    Numbers(#[serde(with = "bits")] Vec<f32>),
    /// The id of a category is its bin up to this one; all others, and missing ones, are in bin 0.
    Categories(u8),
}

impl Bins {
    /// For numbers, of which those that are not finite are missing: each value has a bin of its own, or as many rows are in each bin as far as
    /// equal values allow. `most`: bins for values at most.
    pub fn of_numbers(values: &[f32], most: usize) -> Self {
        let step = values.len().div_ceil(SAMPLE).max(1);
        let finite = values.iter().copied().step_by(step);
        // -0 is 0.
        let mut sample: Vec<f32> = finite.filter(|v| v.is_finite()).map(|v| v + 0.0).collect();
        sample.sort_unstable_by(f32::total_cmp);
        let groups = sample.chunk_by(|a, b| a == b);
        let distinct: Vec<(f32, usize)> = groups.map(|same| (same[0], same.len())).collect();
        Self::Numbers(borders(&distinct, most.clamp(2, MOST_BINS - 1)))
    }

    /// For ids of categories from 1 to `count`, the most frequent ones first.
    pub fn of_categories(count: usize) -> Self {
        Self::Categories(count.min(MOST_BINS - 1) as u8)
    }

    /// How many bins there are, the one of missing values included.
    pub fn count(&self) -> usize {
        match self {
            Self::Numbers(borders) => borders.len() + 2,
            Self::Categories(most) => usize::from(*most) + 1,
        }
    }

    /// The bin of missing values; of categories that of unseen ones too.
    pub fn missing(&self) -> u8 {
        match self {
            Self::Numbers(borders) => (borders.len() + 1) as u8,
            Self::Categories(_) => 0,
        }
    }

    /// The bin of a value.
    pub fn bin(&self, value: f32) -> u8 {
        match self {
            Self::Numbers(borders) if value.is_finite() => {
                borders.partition_point(|border| *border < value) as u8
            }
            Self::Categories(most) if value >= 1.0 && value <= f32::from(*most) => value as u8,
            _ => self.missing(),
        }
    }

    /// The largest value of a bin of numbers.
    pub fn border(&self, bin: u8) -> f32 {
        match self {
            Self::Numbers(borders) => borders.get(usize::from(bin)).copied().unwrap_or(f32::MAX),
            Self::Categories(_) => f32::from(bin),
        }
    }
}

/// Between which values bins end. Values with more rows than an equal share have a bin each, the others share what is left.
fn borders(distinct: &[(f32, usize)], most: usize) -> Vec<f32> {
    let ends: Vec<usize> = if distinct.len() <= most {
        (1..distinct.len()).collect()
    } else {
        equal_shares(distinct, most)
    };
    let middle = |end: usize| {
        let (low, high) = (distinct[end - 1].0, distinct[end].0);
        let middle = (0.5 * (f64::from(low) + f64::from(high))) as f32;
        // Two singles next to each other have nothing between them.
        if middle < high { middle } else { low }
    };
    ends.into_iter().map(middle).collect()
}

fn equal_shares(distinct: &[(f32, usize)], most: usize) -> Vec<usize> {
    let rows: usize = distinct.iter().map(|(_, rows)| rows).sum();
    let is_heavy = |rows: usize, all: usize, bins: usize| rows * bins >= all;
    let heavy: Vec<bool> = distinct
        .iter()
        .map(|(_, count)| is_heavy(*count, rows, most))
        .collect();
    let of_heavy = |(index, (_, count)): (usize, &(f32, usize))| heavy[index].then_some(*count);
    let heavy_rows: usize = distinct.iter().enumerate().filter_map(of_heavy).sum();
    let heavy_bins = heavy.iter().filter(|heavy| **heavy).count();
    // Rows and bins that are left for the others.
    let mut left = rows - heavy_rows;
    let mut bins = most.saturating_sub(heavy_bins).max(1);
    let mut ends = Vec::with_capacity(most);
    let mut inside = 0;
    for (index, (_, count)) in distinct.iter().enumerate().take(distinct.len() - 1) {
        if ends.len() + 1 == most {
            break;
        }
        inside += count;
        let share = left as f64 / bins as f64;
        let is_full = inside as f64 >= share;
        // A bin that is half full ends before a heavy value, which is to be alone.
        let is_before_heavy = heavy[index + 1] && inside as f64 >= 0.5 * share;
        if !(heavy[index] || is_full || is_before_heavy) {
            continue;
        }
        ends.push(index + 1);
        if !heavy[index] {
            left = left.saturating_sub(inside);
            bins = bins.saturating_sub(1).max(1);
        }
        inside = 0;
    }
    ends
}

/// Singles in JSON as the integers of their bits: they come back as they were.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
        let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        bits.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
        let bits = Vec::<u32>::deserialize(deserializer)?;
        Ok(bits.into_iter().map(f32::from_bits).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_values_have_a_bin_each_and_missing_ones_their_own() {
        let bins = Bins::of_numbers(&[3.0, 1.0, f32::NAN, 1.0, 2.0, f32::INFINITY], 255);
        assert_eq!(bins, Bins::Numbers(vec![1.5, 2.5]));
        let found = [1.0, 1.5, 1.6, 9.0, -9.0, f32::NAN, f32::INFINITY].map(|v| bins.bin(v));
        assert_eq!(found, [0, 0, 1, 2, 0, 3, 3]);
        assert_eq!((bins.count(), bins.missing()), (4, 3));
    }

    #[test]
    fn frequent_values_are_alone_and_the_others_share() {
        let mut values = vec![0.0; 9000];
        values.extend((0..1000).map(|i| 1.0 + i as f32));
        let bins = Bins::of_numbers(&values, 11);
        let mut counts = vec![0; bins.count()];
        for value in &values {
            counts[usize::from(bins.bin(*value))] += 1;
        }
        assert_eq!(counts[0], 9000);
        let others = &counts[1..counts.len() - 1];
        assert!(
            others.len() == 10 && others.iter().all(|&n| (90..=110).contains(&n)),
            "{counts:?}"
        );
    }

    #[test]
    fn categories_beyond_a_byte_are_others() {
        let bins = Bins::of_categories(1000);
        let found = [0.0, 1.0, 255.0, 256.0, f32::NAN].map(|id| bins.bin(id));
        assert_eq!(found, [0, 1, 255, 0, 0]);
    }

    proptest! {
        #[test]
        fn borders_divide_values_and_are_few(
            values in prop::collection::vec(prop_oneof![-1e30f32..1e30, -3.0f32..3.0, Just(0.0), Just(f32::NAN), (0u32..9).prop_map(|n| f32::from_bits(0x3f80_0000 + n))], 0..400),
            most in 2usize..20,
        ) {
            let bins = Bins::of_numbers(&values, most);
            let Bins::Numbers(borders) = &bins else { return Err(TestCaseError::fail("no numbers")) };
            prop_assert!(borders.len() < most);
            prop_assert!(borders.windows(2).all(|pair| pair[0] < pair[1]));
            for &value in values.iter().filter(|value| value.is_finite()) {
                let bin = usize::from(bins.bin(value));
                prop_assert!(bin <= borders.len());
                prop_assert!(bin == borders.len() || value <= borders[bin]);
                prop_assert!(bin == 0 || value > borders[bin - 1]);
            }
        }
    }
}
