//! Server time as text: `2026-11-20T11:15:22.123456Z`, 27 characters, proleptic Gregorian, UTC.
//!
//! The record's line holds exactly that form; people may write any RFC 3339 time in a query.

use core::fmt;

use crate::digits::{read_decimal, read_digits, write_decimal_32};
use crate::ids::Micros;

/// Length of a time in a record's line.
pub const TIME_LEN: usize = 27;

/// Writes `t` as `YYYY-MM-DDThh:mm:ss.ffffffZ`; a time past the year 9999 as [`Micros::MAX`].
pub fn write(t: Micros, out: &mut [u8; TIME_LEN]) {
    let t = t.min(Micros::MAX).0;
    let (seconds, micros) = (t / SECOND, t % SECOND);
    let (days, second) = (seconds / DAY_SECONDS, (seconds % DAY_SECONDS) as u32);
    let (year, month, day) = civil(days as u32);
    *out = *b"0000-00-00T00:00:00.000000Z";
    write_decimal_32(year, &mut out[..4]);
    write_decimal_32(month, &mut out[5..7]);
    write_decimal_32(day, &mut out[8..10]);
    write_decimal_32(second / 3600, &mut out[11..13]);
    write_decimal_32(second / 60 % 60, &mut out[14..16]);
    write_decimal_32(second % 60, &mut out[17..19]);
    write_decimal_32(micros as u32, &mut out[20..26]);
}

/// Reads exactly the form that [`write()`] writes, of a date that exists.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Micros> {
    let text: &[u8; TIME_LEN] = text.try_into().ok()?;
    let marks = [
        text[4], text[7], text[10], text[13], text[16], text[19], text[26],
    ];
    if marks != *b"--T::.Z" {
        return None;
    }
    let seconds = date_seconds(text.first_chunk()?)? + clock_seconds(text[11..].first_chunk()?)?;
    let micros = read_digits::<6>(text[20..].first_chunk()?)?;
    Some(Micros(seconds * SECOND + micros))
}

/// Reads any RFC 3339 time: offsets, lower-case `t` and `z`, a space for the `T`, any number of
/// fraction digits (those past microseconds are dropped), a leap second as the last microsecond
/// before it ends. What lies before 1970 or behind 9999 is the nearest time that a record can have.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<Micros> {
    let text = text.as_bytes();
    let head: &[u8; 19] = text.first_chunk()?;
    if !matches!(head[10], b'T' | b't' | b' ') {
        return None;
    }
    if [head[4], head[7], head[13], head[16]] != *b"--::" {
        return None;
    }
    let leap = &head[17..19] == b"60";
    let mut clock = *head;
    let early = read_digits::<4>(head.first_chunk()?)? < 1970;
    if early {
        clock[..4].copy_from_slice(b"2000");
    }
    if leap {
        clock[17..19].copy_from_slice(b"59");
    }
    let seconds = date_seconds(clock.first_chunk()?)? + clock_seconds(clock.last_chunk()?)?;
    let (micros, zone) = fraction(&text[19..])?;
    let micros = if leap { SECOND - 1 } else { micros };
    let local = i64::try_from(seconds * SECOND + micros).ok()?;
    let utc = local.checked_sub(offset_seconds(zone)? * SECOND.cast_signed())?;
    let t = Micros(u64::try_from(utc).unwrap_or(0)).min(Micros::MAX);
    Some(if early { Micros(0) } else { t })
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TIME_LEN];
        write(*self, &mut text);
        f.write_str(core::str::from_utf8(&text).expect("digits and marks are ASCII"))
    }
}

/// Seconds from 1970 to the start of the date in the first ten characters.
fn date_seconds(text: &[u8; 10]) -> Option<u64> {
    let year = read_digits::<4>(text.first_chunk()?)? as u32;
    let month = pair(text[5], text[6])?;
    let day = pair(text[8], text[9])?;
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || day > month_days(year, month) {
        return None;
    }
    Some(u64::from(days(year, month, day)) * DAY_SECONDS)
}

/// Seconds of `hh:mm:ss`.
fn clock_seconds(text: &[u8; 8]) -> Option<u64> {
    let hour = pair(text[0], text[1])?;
    let minute = pair(text[3], text[4])?;
    let second = pair(text[6], text[7])?;
    let seconds = hour * 3600 + minute * 60 + second;
    (hour < 24 && minute < 60 && second < 60).then_some(u64::from(seconds))
}

/// The number of two decimal digits.
fn pair(tens: u8, ones: u8) -> Option<u32> {
    read_digits(&[tens, ones]).map(|value| value as u32)
}

/// Microseconds of an optional `.ddd`, and what follows it.
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let count = digits
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .count();
    if count == 0 {
        return None;
    }
    let kept = count.min(6);
    let value = read_decimal(&digits[..kept])?;
    Some((value * 10_u64.pow(6 - kept as u32), &digits[count..]))
}

/// Seconds that local time is ahead of UTC.
fn offset_seconds(zone: &[u8]) -> Option<i64> {
    if matches!(zone, b"Z" | b"z") {
        return Some(0);
    }
    let zone: &[u8; 6] = zone.try_into().ok()?;
    let hour = pair(zone[1], zone[2])?;
    let minute = pair(zone[4], zone[5])?;
    if zone[3] != b':' || hour > 23 || minute > 59 {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60);
    match zone[0] {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// The date of a day counted from 1970-01-01; 400-year eras that start in March, so that the
/// leap day is an era year's last.
const fn civil(days: u32) -> (u32, u32, u32) {
    let days = days + ERA_SHIFT_DAYS;
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + (month <= 2) as u32;
    (year, month, day)
}

/// The inverse of [`civil`].
const fn days(year: u32, month: u32, day: u32) -> u32 {
    let year = year - (month <= 2) as u32;
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * ERA_DAYS + of_era - ERA_SHIFT_DAYS
}

const fn month_days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

const SECOND: u64 = 1_000_000;
const DAY_SECONDS: u64 = 86_400;
/// Days of 400 years.
const ERA_DAYS: u32 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const ERA_SHIFT_DAYS: u32 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn known_times_are_written_as_calendars_say() {
        let check = |micros: u64, text: &str| {
            assert_eq!(Micros(micros).to_string(), text);
            assert_eq!(parse(text.as_bytes()), Some(Micros(micros)));
        };
        check(0, "1970-01-01T00:00:00.000000Z");
        check(951_782_400_000_000, "2000-02-29T00:00:00.000000Z");
        check(1_795_173_322_123_456, "2026-11-20T11:15:22.123456Z");
        check(4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z");
        check(Micros::MAX.0, "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in [
            "2026-02-29T00:00:00.000000Z",
            "2100-02-29T00:00:00.000000Z",
            "2026-13-01T00:00:00.000000Z",
            "2026-00-01T00:00:00.000000Z",
            "2026-04-31T00:00:00.000000Z",
            "2026-04-30T24:00:00.000000Z",
            "2026-04-30T23:60:00.000000Z",
            "2026-04-30T23:59:60.000000Z",
            "1969-12-31T23:59:59.999999Z",
            "2026-04-30T23:59:59.999999z",
            "2026-04-30T23:59:59.99999Z",
            "2026-04-30T23:59:59.99999+Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn people_may_write_offsets_and_short_fractions() {
        let check = |text: &str, same: &str| {
            assert_eq!(parse_rfc3339(text), parse(same.as_bytes()), "{text}");
            assert!(parse_rfc3339(text).is_some(), "{text}");
        };
        check("2026-11-20T11:15:22Z", "2026-11-20T11:15:22.000000Z");
        check("2026-11-20 12:15:22.5+01:00", "2026-11-20T11:15:22.500000Z");
        check(
            "2026-11-20t11:15:22.1234567z",
            "2026-11-20T11:15:22.123456Z",
        );
        check("2026-11-19T23:45:22-11:30", "2026-11-20T11:15:22.000000Z");
        check("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z");
        check("1970-01-01T00:00:00+01:00", "1970-01-01T00:00:00.000000Z");
        check("0179-10-19T02:14:20+21:09", "1970-01-01T00:00:00.000000Z");
        check("9999-12-31T23:59:59-23:00", "9999-12-31T23:59:59.999999Z");
        for text in [
            "",
            "2026-11-20",
            "2026-11-20T11:15:22",
            "2026-11-20T11:15:22.Z",
            "1902-13-01T00:00:00Z",
            "2026-11-20T11:15:22+0100",
            "2026-11-20T11:15:22Zx",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_round_trips(micros in 0..=Micros::MAX.0) {
            let mut text = [0; TIME_LEN];
            write(Micros(micros), &mut text);
            prop_assert_eq!(parse(&text), Some(Micros(micros)));
        }
    }
}
