//! Tweedie quasi-likelihood with variance power 3/2: what amounts are judged by where an expected value is fitted or
//! weighed on held-out rows. Many zeros and a heavy tail are what it is made for: with squared errors, or Poisson's, a few whales would decide.

const POWER: f64 = 1.5;
/// Predictions below this share of the mean count as this.
const LEAST: f64 = 1e-6;

/// The mean unit deviance, up to terms of `actual` alone.
pub fn deviance(predicted: impl Iterator<Item = f64>, actual: &[f64]) -> f64 {
    let floor = LEAST * mean(actual);
    let terms = predicted.zip(actual).map(|(value, y)| {
        let root = value.max(floor).sqrt();
        y / root + root
    });
    terms.sum::<f64>() / actual.len() as f64
}

/// The same of predictions that are multiplied so that their total is right.
pub fn deviance_at_total(predicted: &[f64], actual: &[f64]) -> f64 {
    let scale = actual.iter().sum::<f64>() / predicted.iter().sum::<f64>();
    deviance(predicted.iter().map(|value| value * scale), actual)
}

/// Of the mean as a prediction for everybody.
pub fn deviance_of_mean(actual: &[f64]) -> f64 {
    2.0 * mean(actual).sqrt()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn weighted_mean(values: &[f64], weights: &[f64]) -> f64 {
    let products = values.iter().zip(weights).map(|(value, w)| value * w);
    products.sum::<f64>() / weights.iter().sum::<f64>()
}

/// The slope of `ln(E[y]) = a + slope * log` inside `range`, by Fisher scoring; each row counts `weights`.
pub fn slope(logs: &[f64], actual: &[f64], weights: &[f64], range: (f64, f64)) -> Option<f64> {
    let centre = weighted_mean(logs, weights);
    let (mut intercept, mut slope) = (weighted_mean(actual, weights).ln(), 1.0);
    for _ in 0..100 {
        let (mut weight, mut first, mut second) = (0.0, 0.0, 0.0);
        let (mut residual, mut product) = (0.0, 0.0);
        for ((log, y), row) in logs.iter().zip(actual).zip(weights) {
            let u = log - centre;
            let expected = (intercept + slope * u).clamp(-80.0, 80.0).exp();
            let w = row * expected.powf(2.0 - POWER);
            let z = w * (y - expected) / expected;
            weight += w;
            first += w * u;
            second += w * u * u;
            residual += z;
            product += z * u;
        }
        let determinant = weight * second - first * first;
        let up = (second * residual - first * product) / determinant;
        let step = (weight * product - first * residual) / determinant;
        if !(up.is_finite() && step.is_finite()) {
            return None;
        }
        intercept += up.clamp(-0.5, 0.5);
        slope += step.clamp(-0.5, 0.5);
        if up.abs() < 1e-9 && step.abs() < 1e-9 {
            break;
        }
    }
    slope.is_finite().then(|| slope.clamp(range.0, range.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_exact_data_is_found() {
        let logs: Vec<f64> = (0..200).map(|i| f64::from(i) / 25.0 - 3.0).collect();
        let actual: Vec<f64> = logs.iter().map(|log| (0.7 + 1.3 * log).exp()).collect();
        let found = slope(&logs, &actual, &[1.0; 200], (0.5, 1.5));
        assert!(
            found.is_some_and(|slope| (slope - 1.3).abs() < 1e-6),
            "{found:?}"
        );
        assert_eq!(slope(&logs, &actual, &[1.0; 200], (0.5, 1.2)), Some(1.2));
    }

    #[test]
    fn equal_predictions_have_no_slope() {
        assert_eq!(slope(&[1.0; 9], &[2.0; 9], &[1.0; 9], (0.5, 1.5)), None);
    }

    #[test]
    fn the_truth_has_the_least_deviance() {
        let actual = [0.0, 3.0, 8.0, 1.0];
        let of = |factor: f64| deviance(actual.iter().map(|y| y * factor + 1e-3), &actual);
        assert!(of(1.0) < of(0.9) && of(1.0) < of(1.1));
        let constant = deviance([3.0; 4].into_iter(), &actual);
        assert!((constant - deviance_of_mean(&actual)).abs() < 1e-12);
    }
}
