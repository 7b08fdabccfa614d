//! Whole numbers in JSON. To JSON, and so to its schemas, `3` and `3.0` are one number; programs
//! that have no other numbers than floating ones write the latter.

use serde::de::{Deserialize as _, Deserializer, Error as _};
use serde_json::Number;

/// Reads a whole number or null.
pub(crate) fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(from)? else {
        return Ok(None);
    };
    let whole = number.as_u64().or_else(|| of_float(number.as_f64()?));
    let no_whole = || D::Error::custom(format!("`{number}` is no whole number from 0 on"));
    whole.ok_or_else(no_whole).map(Some)
}

/// Reads a limit: null takes it away, which the engine is told as 0.
pub(crate) fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(Some(whole(from)?.unwrap_or(0)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and within what a float holds exactly"
)]
fn of_float(number: f64) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let fits = number.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&number);
    fits.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Option<u64>>) {
        let read = whole(&mut serde_json::Deserializer::from_str(text)).ok();
        assert_eq!(read, expected, "{text}");
    }

    #[test]
    fn a_whole_number_is_one_in_every_spelling() {
        check("3", Some(Some(3)));
        check("3.0", Some(Some(3)));
        check("3e2", Some(Some(300)));
        check("18446744073709551615", Some(Some(u64::MAX)));
        check("null", Some(None));
        for other in ["3.5", "-1", "-1.0", "1e300", "\"3\"", "true", "[]"] {
            check(other, None);
        }
        let none = limit(&mut serde_json::Deserializer::from_str("null")).unwrap();
        assert_eq!(none, Some(0));
    }
}
