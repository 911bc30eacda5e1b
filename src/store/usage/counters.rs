//! Counts over sliding windows, and their byte encoding.
//!
//! A ring holds the buckets of its window and the running one. An event at time *t* falls into bucket *t / width* and
//! counts as long as that bucket is in the ring: at least for the whole window, at most one bucket longer.

use crate::domain::authority::usage::WindowCounts;

/// Seconds since the Unix epoch: buckets need no finer unit.
pub(super) type Seconds = u64;

/// The version of the encoding, its first byte.
const FORM: u8 = 1;

/// Twelve buckets of five seconds and the running one.
pub(super) type Minute = Ring<13, 5>;
/// Twelve buckets of five minutes and the running one.
pub(super) type Hour = Ring<13, 300>;
/// 24 buckets of an hour and the running one.
pub(super) type Day = Ring<25, 3_600>;

/// One count over three windows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counters {
    minute: Minute,
    hour: Hour,
    day: Day,
}

/// A count over `BUCKETS - 1` buckets of `WIDTH` seconds, and the running one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ring<const BUCKETS: usize, const WIDTH: u64> {
    /// The number of the running bucket since the epoch.
    newest: u64,
    /// The counts; bucket *n* is at index *n* modulo `BUCKETS`.
    counts: [u32; BUCKETS],
    /// The sum of the counts, which every call reads.
    total: u64,
}

impl Counters {
    pub(super) fn add(&mut self, now: u64) {
        self.minute.add(now);
        self.hour.add(now);
        self.day.add(now);
    }

    pub(super) fn windows(&mut self, now: u64) -> WindowCounts {
        WindowCounts {
            minute: self.minute.count(now),
            hour: self.hour.count(now),
            day: self.day.count(now),
        }
    }
}

impl<const BUCKETS: usize, const WIDTH: u64> Ring<BUCKETS, WIDTH> {
    /// Counts an event, which may be a little earlier than the latest one.
    pub(super) fn add(&mut self, at: u64) {
        self.advance(at);
        if let Some(count) = self.place(at).map(|place| &mut self.counts[place])
            && let Some(more) = count.checked_add(1)
        {
            *count = more;
            self.total += 1;
        }
    }

    /// Removes an event, if it still counts.
    pub(super) fn take_away(&mut self, at: u64) {
        if let Some(count) = self.place(at).map(|place| &mut self.counts[place])
            && let Some(less) = count.checked_sub(1)
        {
            *count = less;
            self.total -= 1;
        }
    }

    pub(super) fn count(&mut self, now: u64) -> u64 {
        self.advance(now);
        self.total
    }

    /// The index of the bucket of a time, if it is in the ring.
    fn place(&self, at: u64) -> Option<usize> {
        let bucket = at / WIDTH;
        let age = self.newest.checked_sub(bucket)?;
        (age < BUCKETS as u64).then_some((bucket % BUCKETS as u64) as usize)
    }

    /// Clears the buckets between the newest one and now.
    fn advance(&mut self, now: u64) {
        let bucket = now / WIDTH;
        if bucket <= self.newest {
            return;
        }
        if bucket - self.newest >= BUCKETS as u64 {
            self.counts = [0; BUCKETS];
            self.total = 0;
        } else {
            for skipped in self.newest + 1..=bucket {
                let count = &mut self.counts[(skipped % BUCKETS as u64) as usize];
                self.total -= u64::from(std::mem::take(count));
            }
        }
        self.newest = bucket;
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        write_number(self.newest, bytes);
        for count in self.counts {
            write_number(u64::from(count), bytes);
        }
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let newest = read_number(bytes)?;
        let mut counts = [0; BUCKETS];
        for count in &mut counts {
            *count = u32::try_from(read_number(bytes)?).ok()?;
        }
        Some(Self {
            newest,
            counts,
            total: counts.iter().map(|count| u64::from(*count)).sum(),
        })
    }
}

impl<const BUCKETS: usize, const WIDTH: u64> Default for Ring<BUCKETS, WIDTH> {
    fn default() -> Self {
        Self {
            newest: 0,
            counts: [0; BUCKETS],
            total: 0,
        }
    }
}

/// Encodes counters. Those of an actor have denials.
pub(super) fn write(allowed: &Counters, denied: Option<&Hour>) -> Vec<u8> {
    let mut bytes = vec![FORM];
    allowed.minute.write(&mut bytes);
    allowed.hour.write(&mut bytes);
    allowed.day.write(&mut bytes);
    if let Some(denied) = denied {
        denied.write(&mut bytes);
    }
    bytes
}

/// Decodes counters. Without denials those are zero.
pub(super) fn read(bytes: &[u8]) -> Option<(Counters, Hour)> {
    let mut bytes = bytes.strip_prefix(&[FORM])?;
    let allowed = Counters {
        minute: Ring::read(&mut bytes)?,
        hour: Ring::read(&mut bytes)?,
        day: Ring::read(&mut bytes)?,
    };
    let denied = match bytes {
        [] => Hour::default(),
        _ => Ring::read(&mut bytes)?,
    };
    bytes.is_empty().then_some((allowed, denied))
}

/// Encodes a number as LEB128.
fn write_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << shift;
        if shifted >> shift != bits {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
