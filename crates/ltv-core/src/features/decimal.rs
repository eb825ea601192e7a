//! Amounts as whole numbers of a decimal unit, so that sums do not depend on the order in which they are added.

/// So many digits after the decimal point are kept; what comes after them is rounded, half away from zero.
pub const MAX_SCALE: u8 = 18;

/// A finite number, `mantissa / 10^scale`, with as few digits as it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decimal {
    /// The digits.
    pub mantissa: i128,
    /// How many of them stand after the decimal point, at most [`MAX_SCALE`].
    pub scale: u8,
}

/// Up to here a whole number is an exact `f64`.
const EXACT: u128 = 1 << 53;

/// Powers of ten that are exact as doubles.
const DOUBLES: [f64; 23] = {
    let mut powers = [1.0; 23];
    let mut n = 1;
    while n < 23 {
        powers[n] = POWERS[n] as f64;
        n += 1;
    }
    powers
};

const POWERS: [i128; 39] = {
    let mut powers = [1; 39];
    let mut n = 1;
    while n < 39 {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

/// `10^n`; `None` where that is more than an `i128` holds.
pub fn power_of_ten(n: u32) -> Option<i128> {
    POWERS.get(n as usize).copied()
}

impl Decimal {
    /// `mantissa * 10^exponent`; `None` where it is too large for `digits * 10^18` to fit into an `i128`.
    pub fn new(mantissa: i128, exponent: i32) -> Option<Self> {
        if mantissa == 0 {
            return Some(Self::default());
        }
        if let (Ok(mantissa), -18..=0) = (i64::try_from(mantissa), exponent) {
            return Some(Self::short(mantissa, -exponent as u8));
        }
        if exponent >= 0 {
            let mantissa = mantissa.checked_mul(power_of_ten(exponent.unsigned_abs())?)?;
            return Self { mantissa, scale: 0 }.bounded();
        }
        let (mut mantissa, mut digits) = (mantissa, exponent.unsigned_abs());
        if digits > u32::from(MAX_SCALE) {
            let unit = power_of_ten(digits - u32::from(MAX_SCALE));
            mantissa = unit.map_or(0, |unit| divide_rounded(mantissa, unit));
            digits = u32::from(MAX_SCALE);
        }
        while digits > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            digits -= 1;
        }
        Self {
            mantissa,
            scale: digits as u8,
        }
        .bounded()
    }

    /// The same of a word, for which any scale is small enough.
    fn short(mut mantissa: i64, mut scale: u8) -> Self {
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Self {
            mantissa: mantissa.into(),
            scale,
        }
    }

    /// A double as PostgreSQL casts it to `numeric`: its first 15 significant digits. `None` where it is not finite or too large.
    pub fn of_f64(value: f64) -> Option<Self> {
        Self::of_scientific(value.is_finite().then(|| format!("{value:.14e}"))?)
    }

    /// The same of single precision, whose first 6 digits count.
    pub fn of_f32(value: f32) -> Option<Self> {
        Self::of_scientific(value.is_finite().then(|| format!("{value:.5e}"))?)
    }

    fn of_scientific(text: String) -> Option<Self> {
        let (digits, exponent) = text.split_once('e')?;
        let exponent: i32 = exponent.parse().ok()?;
        let after_point = digits.split_once('.').map_or(0, |(_, after)| after.len());
        let mantissa: i128 = digits.replace('.', "").parse().ok()?;
        Self::new(mantissa, exponent - after_point as i32)
    }

    /// That it can be brought to the largest scale, so that any two of them can be added.
    fn bounded(self) -> Option<Self> {
        self.at(MAX_SCALE).map(|_| self)
    }

    /// The digits of this number at a scale that is not smaller; `None` where they do not fit.
    #[inline]
    pub fn at(self, scale: u8) -> Option<i128> {
        if scale == self.scale {
            return Some(self.mantissa);
        }
        self.mantissa
            .checked_mul(power_of_ten(u32::from(scale.checked_sub(self.scale)?))?)
    }
}

/// Half away from zero.
fn divide_rounded(mantissa: i128, unit: i128) -> i128 {
    let (quotient, rest) = (mantissa / unit, mantissa % unit);
    if rest.unsigned_abs() >= unit.unsigned_abs().div_ceil(2) {
        quotient + mantissa.signum()
    } else {
        quotient
    }
}

/// A number that is exact as a double.
#[inline]
fn exact(mantissa: i128) -> Option<f64> {
    (mantissa.unsigned_abs() <= EXACT).then_some(mantissa as i64 as f64)
}

/// The double nearest to `mantissa / 10^scale`.
pub fn to_f64(mantissa: i128, scale: u8) -> f64 {
    // Both exact, so that one rounding gives the nearest.
    if let (Some(mantissa), Some(power)) = (exact(mantissa), DOUBLES.get(usize::from(scale))) {
        return mantissa / power;
    }
    format!("{mantissa}e-{scale}").parse().unwrap_or(f64::NAN)
}

/// The single-precision number nearest to `mantissa / 10^scale`.
pub fn to_f32(mantissa: i128, scale: u8) -> f32 {
    if mantissa.unsigned_abs() <= 1 << 24 && scale <= 10 {
        return mantissa as i32 as f32 / DOUBLES[usize::from(scale)] as f32;
    }
    format!("{mantissa}e-{scale}").parse().unwrap_or(f32::NAN)
}

/// The double nearest to `mantissa / 10^scale / n`; 0 for `n = 0`.
pub fn quotient(mantissa: i128, scale: u8, n: i64) -> f64 {
    if mantissa == 0 || n <= 0 {
        return 0.0;
    }
    let divisor = POWERS[usize::from(scale.min(MAX_SCALE))] * i128::from(n);
    if let (Some(mantissa), Some(divisor)) = (exact(mantissa), exact(divisor)) {
        return mantissa / divisor;
    }
    // As many digits as fit, of which a double has 17.
    let digits = 37 - mantissa.unsigned_abs().ilog10().min(37);
    let raised = mantissa * POWERS[digits as usize];
    to_f64(divide_rounded(raised, i128::from(n)), scale + digits as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_zeros_take_no_room_and_digits_beyond_the_last_are_rounded() {
        let decimal = |mantissa, exponent| Decimal::new(mantissa, exponent).unwrap();
        assert_eq!(decimal(12_300, -4), decimal(123, -2));
        assert_eq!(decimal(5, 3), decimal(5000, 0));
        assert_eq!(decimal(15, -19), decimal(2, -18));
        assert_eq!(decimal(-15, -19), decimal(-2, -18));
        assert_eq!(decimal(14, -19), decimal(1, -18));
        assert_eq!(decimal(1, -400), decimal(0, 0));
        assert_eq!(Decimal::new(1, 30), None);
        assert_eq!(Decimal::new(1, 300), None);
        assert_eq!(Decimal::of_f64(0.1 + 0.2), Some(decimal(3, -1)));
        assert_eq!(Decimal::of_f64(-1234.5), Some(decimal(-12345, -1)));
        assert_eq!(Decimal::of_f32(0.1), Some(decimal(1, -1)));
        assert_eq!(Decimal::of_f64(1e300), None);
        assert_eq!(Decimal::of_f64(f64::NAN), None);
    }

    #[test]
    fn numbers_are_the_nearest_ones() {
        for (mantissa, scale, text) in [
            (1_i128, 1_u8, "0.1"),
            (-123_456_789_012_345_678, 2, "-1234567890123456.78"),
            (9_007_199_254_740_993, 3, "9007199254740.993"),
            (16_777_217, 0, "16777217"),
            (i128::MAX, 18, "170141183460469231731.687303715884105727"),
        ] {
            assert_eq!(to_f64(mantissa, scale), text.parse::<f64>().unwrap());
            assert_eq!(to_f32(mantissa, scale), text.parse::<f32>().unwrap());
        }
    }

    #[test]
    fn quotients_are_the_nearest_ones() {
        assert_eq!(quotient(100, 0, 3), 100.0 / 3.0);
        assert_eq!(quotient(-100, 0, 3), -100.0 / 3.0);
        assert_eq!(
            quotient(1, 2, 7),
            "0.00142857142857142857142857142857".parse::<f64>().unwrap()
        );
        assert_eq!(
            quotient(123_456_789_012_345_678, 18, 7),
            "0.0176366841446208111428571428571428571"
                .parse::<f64>()
                .unwrap()
        );
        assert_eq!(quotient(5, 1, 0), 0.0);
    }
}
