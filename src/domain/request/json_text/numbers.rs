//! Numbers that all parsers represent alike.
//!
//! JSON does not bound numbers; parsers do: some keep 64 bits, most keep a double. A number that the server's
//! parser changes is not the number that was authorized.

use serde_json::Number;

/// Doubles from here on exceed 64-bit integers.
const BEYOND_I64: f64 = 9_223_372_036_854_775_808.0;

/// The largest magnitude up to which all whole numbers are exact in a double, 2^53.
const EXACT_IN_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// The largest magnitude up to which every whole number has a double of its own, 2^53 - 1.
const SAFE_IN_DOUBLE: f64 = 9_007_199_254_740_991.0;

/// Why a number changes when it is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InexactNumber {
    /// An integer beyond 64 bits.
    TooLarge,
    /// A fraction or exponent with more digits than a double holds.
    TooManyDigits,
}

/// A double as JSON Schema treats it: a value without a fraction is an integer.
pub fn of_double(value: f64) -> Option<Number> {
    if value.fract() == 0.0 && value.abs() < BEYOND_I64 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 64 bits")]
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

/// Whether a double is a whole number of a magnitude at which doubles skip some.
pub fn is_beyond_double(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() > EXACT_IN_DOUBLE
}

/// Whether a number is a whole one that whoever sent it may have rounded, if they store numbers as doubles.
pub fn may_be_rounded(number: &Number) -> bool {
    let beyond = |value: f64| value.fract() == 0.0 && value.abs() > SAFE_IN_DOUBLE;
    number.as_f64().is_none_or(beyond)
}

/// A number that another parser has read, as a strict reader of requests reads it.
///
/// # Errors
///
/// [`InexactNumber::TooLarge`] for a whole number beyond 64 bits.
pub fn of_parsed(number: &Number) -> Result<Number, InexactNumber> {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(whole), ..) => Ok(whole.into()),
        (None, None, Some(double)) => of_double(double).ok_or(InexactNumber::TooLarge),
        _ => Err(InexactNumber::TooLarge),
    }
}

/// Whether parsing keeps a number as written. What is not a number is left to the parser.
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
    // Rust formats a double with the fewest digits that round-trip.
    match double.is_finite() && decimal(literal) == decimal(&format!("{double:e}")) {
        true => Ok(()),
        false => Err(InexactNumber::TooManyDigits),
    }
}

/// Whether a text is a JSON number (RFC 8259, 6).
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

/// The significant digits of a number, and the exponent of the last digit.
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
