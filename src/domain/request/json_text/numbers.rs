//! Numbers that every reader takes for the same.
//!
//! JSON sets no bounds to numbers, readers do: some keep 64 bits, most keep a double. A number that its reader would
//! change is not the number that was decided about.

use serde_json::Number;

/// Doubles from here on are beyond whole numbers of 64 bits.
const BEYOND_I64: f64 = 9_223_372_036_854_775_808.0;

/// A number of a JSON text that is no longer the same once read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InexactNumber {
    /// Written as a whole number, and beyond 64 bits.
    TooLarge,
    /// Written with a fraction or an exponent, and with more digits than a double holds.
    TooManyDigits,
}

/// A double as JSON Schema sees it: what has no fraction is a whole number, however it is written.
pub fn of_double(value: f64) -> Option<Number> {
    if value.fract() == 0.0 && value.abs() < BEYOND_I64 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 64 bits")]
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

/// Whether a number is kept as it is written. What is no number is for the reader to refuse.
pub(super) fn check(literal: &str) -> Result<(), InexactNumber> {
    if !is_number(literal) {
        return Ok(());
    }
    if !literal.contains(['.', 'e', 'E']) {
        return literal
            .parse::<i64>()
            .map(drop)
            .map_err(|_| InexactNumber::TooLarge);
    }
    let double: f64 = literal.parse().map_err(|_| InexactNumber::TooManyDigits)?;
    // Rust writes the fewest digits that are read back as the same double.
    match double.is_finite() && decimal(literal) == decimal(&format!("{double:e}")) {
        true => Ok(()),
        false => Err(InexactNumber::TooManyDigits),
    }
}

/// Whether a text is a number of JSON (RFC 8259, 6).
fn is_number(literal: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = literal.strip_prefix('-').unwrap_or(literal);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    is_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(|it| is_digits(it.strip_prefix(['+', '-']).unwrap_or(it)))
}

/// The digits of a number from the first to the last that is not zero, and the power of ten of the last.
fn decimal(literal: &str) -> Option<(bool, String, i64)> {
    let (is_negative, rest) = match literal.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, literal),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let exponent: i64 = exponent
        .strip_prefix('+')
        .unwrap_or(exponent)
        .parse()
        .ok()?;
    let power = exponent
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(i64::try_from(zeros).ok()?)?;
    Some((is_negative, significant.to_owned(), power))
}
