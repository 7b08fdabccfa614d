//! Numbers with units, as options and scenarios write them.

use std::fmt;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things: `3`.
    Count,
    /// Of a hundred: `30%`.
    Percent,
    /// Of a million: `2000ppm`.
    Ppm,
    /// Time in microseconds: `20us`, `500ms`, `2s`.
    Micros,
    /// Size: `100B`, `64KiB`, `1MiB`.
    Bytes,
}

impl Unit {
    /// What a person may write.
    #[must_use]
    pub const fn allowed(self) -> &'static str {
        match self {
            Self::Count => "a number like 3",
            Self::Percent => "percent like 30%",
            Self::Ppm => "parts of a million like 2000ppm",
            Self::Micros => "a time like 20us, 500ms or 2s",
            Self::Bytes => "a size like 100B, 64KiB or 1MiB",
        }
    }

    /// The endings and what they multiply with, the largest first.
    const fn endings(self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Count => &[("", 1)],
            Self::Percent => &[("%", 1)],
            Self::Ppm => &[("ppm", 1)],
            Self::Micros => &[("s", 1_000_000), ("ms", 1_000), ("us", 1)],
            Self::Bytes => &[("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)],
        }
    }

    /// Reads a number of this unit. 0 and `off` need no ending.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<u64> {
        if text == "0" || text == "off" {
            return Some(0);
        }
        let digits = text.find(|it: char| !it.is_ascii_digit());
        let (number, ending) = text.split_at(digits.unwrap_or(text.len()));
        let endings = self.endings().iter();
        let factor = endings.clone().find(|(name, _)| *name == ending)?.1;
        number.parse::<u64>().ok()?.checked_mul(factor)
    }

    /// The number as [`Unit::parse`] reads it, with the largest ending that leaves it whole.
    #[must_use]
    pub const fn show(self, number: u64) -> Quantity {
        Quantity { unit: self, number }
    }
}

/// A number with its unit, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    unit: Unit,
    number: u64,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.number == 0 {
            return f.write_str(if self.unit == Unit::Count { "0" } else { "off" });
        }
        let mut endings = self.unit.endings().iter();
        let whole = endings.find(|(_, factor)| self.number.is_multiple_of(*factor));
        let (ending, factor) = whole.expect("the smallest ending divides all numbers");
        write!(f, "{}{ending}", self.number / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_they_are_read() {
        let cases = [
            (Unit::Count, "17", 17),
            (Unit::Percent, "30%", 30),
            (Unit::Ppm, "2000ppm", 2_000),
            (Unit::Micros, "1500us", 1_500),
            (Unit::Micros, "1500ms", 1_500_000),
            (Unit::Micros, "2s", 2_000_000),
            (Unit::Bytes, "1025B", 1_025),
            (Unit::Bytes, "3KiB", 3 << 10),
            (Unit::Bytes, "1MiB", 1 << 20),
            (Unit::Ppm, "off", 0),
            (Unit::Count, "0", 0),
        ];
        for (unit, text, number) in cases {
            assert_eq!(unit.parse(text), Some(number), "{text}");
            assert_eq!(unit.show(number).to_string(), text);
        }
        assert_eq!(Unit::Micros.parse("0"), Some(0));
        for wrong in [
            "",
            "3",
            "s",
            "-1s",
            "2 s",
            "2m",
            "99999999999999999999s",
            "1e3s",
        ] {
            assert_eq!(Unit::Micros.parse(wrong), None, "{wrong}");
        }
        assert_eq!(Unit::Micros.parse("99999999999999999s"), None);
    }
}
