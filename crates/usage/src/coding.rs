//! Cells and sums as bytes, for whoever keeps them: small, since there are millions. What is zero takes no room but a bit.

use crate::{
    cell::{Cell, Counters, Spreads},
    labels::Labels,
    spread::Spread,
    sums::Sums,
};
use foldhash::HashMap;
use std::{error, fmt, sync::Arc};

/// Bytes that are no cell or no sums, or those of a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCoding;

impl fmt::Display for BadCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a sum of usage as this version writes it")
    }
}

impl error::Error for BadCoding {}

const VERSION: u8 = 1;

/// Counters, peak, two spreads.
const VALUES: usize = Counters::NAMES.len() + 1 + 2 * Spread::BUCKETS;

impl Cell {
    /// Writes the sums as the usage book keeps them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        self.write(&mut bytes);
        bytes
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let mut values = [0; VALUES];
        let (counters, rest) = values.split_at_mut(Counters::NAMES.len());
        counters.copy_from_slice(&self.counters.values());
        rest[0] = self.peak;
        if let Some(spreads) = &self.spreads {
            rest[1..=Spread::BUCKETS].copy_from_slice(spreads.duration.counts());
            rest[1 + Spread::BUCKETS..].copy_from_slice(spreads.first_event.counts());
        }
        bytes.push(VERSION);
        let mask =
            values.iter().enumerate().fold(0_u64, |mask, (at, &value)| mask | (u64::from(value != 0) << at));
        varint(bytes, mask);
        for value in values.into_iter().filter(|&value| value != 0) {
            varint(bytes, value);
        }
    }

    /// From bytes of which it takes all.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadCoding> {
        let mut rest = bytes;
        let cell = Self::read(&mut rest)?;
        if rest.is_empty() { Ok(cell) } else { Err(BadCoding) }
    }

    fn read(bytes: &mut &[u8]) -> Result<Self, BadCoding> {
        if byte(bytes)? != VERSION {
            return Err(BadCoding);
        }
        let mask = number(bytes)?;
        if mask >> VALUES != 0 {
            return Err(BadCoding);
        }
        let mut values = [0; VALUES];
        for (at, value) in values.iter_mut().enumerate() {
            if mask & (1 << at) != 0 {
                *value = number(bytes)?;
            }
        }
        let mut values = values.into_iter();
        let mut counts = [0; Counters::NAMES.len()];
        counts.fill_with(|| values.next().unwrap_or_default());
        let peak = values.next().unwrap_or_default();
        let mut spread = || {
            let mut counts = [0; Spread::BUCKETS];
            counts.fill_with(|| values.next().unwrap_or_default());
            Spread::from_counts(counts)
        };
        let spreads = Spreads { duration: spread(), first_event: spread() };
        Ok(Self {
            counters: Counters::from_values(counts),
            peak,
            spreads: (spreads != Spreads::default()).then(|| Box::new(spreads)),
        })
    }
}

impl Sums {
    /// As bytes, the second they are of included.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        varint(&mut bytes, self.at().cast_unsigned());
        varint(&mut bytes, self.cells().len() as u64);
        // In one order, so that the same sums are the same bytes.
        let mut cells: Vec<_> = self.cells().iter().collect();
        cells.sort_unstable_by_key(|(labels, _)| *labels);
        for (labels, cell) in cells {
            labels.write(&mut bytes);
            cell.write(&mut bytes);
        }
        bytes
    }

    /// From bytes of which it takes all.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadCoding> {
        let mut rest = bytes;
        if byte(&mut rest)? != VERSION {
            return Err(BadCoding);
        }
        let at = number(&mut rest)?.cast_signed();
        let count = number(&mut rest)?;
        let mut cells = HashMap::default();
        for _ in 0..count {
            let labels = Labels::read(&mut rest)?;
            cells.insert(labels, Cell::read(&mut rest)?);
        }
        if rest.is_empty() { Ok(Self::from_cells(at, cells)) } else { Err(BadCoding) }
    }
}

impl Labels {
    /// As bytes: the same labels are the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        self.write(&mut bytes);
        bytes
    }

    /// From bytes of which it takes all.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadCoding> {
        let mut rest = bytes;
        let labels = Self::read(&mut rest)?;
        if rest.is_empty() { Ok(labels) } else { Err(BadCoding) }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let parts = [&self.caller, &self.key, &self.project, &self.model];
        let told =
            parts.iter().enumerate().fold(0_u8, |told, (at, part)| told | (u8::from(part.is_some()) << at));
        bytes.push(told);
        for part in parts.into_iter().flatten() {
            varint(bytes, part.len() as u64);
            bytes.extend_from_slice(part.as_bytes());
        }
    }

    fn read(bytes: &mut &[u8]) -> Result<Self, BadCoding> {
        let told = byte(bytes)?;
        let mut parts: [Option<Arc<str>>; 4] = Default::default();
        for (position, part) in parts.iter_mut().enumerate() {
            if told & (1 << position) != 0 {
                let length = usize::try_from(number(bytes)?).map_err(|_| BadCoding)?;
                let (text, behind) = bytes.split_at_checked(length).ok_or(BadCoding)?;
                *part = Some(str::from_utf8(text).map_err(|_| BadCoding)?.into());
                *bytes = behind;
            }
        }
        let [caller, key, project, model] = parts;
        Ok(Self { caller, key, project, model })
    }
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn byte(bytes: &mut &[u8]) -> Result<u8, BadCoding> {
    let (&first, rest) = bytes.split_first().ok_or(BadCoding)?;
    *bytes = rest;
    Ok(first)
}

fn number(bytes: &mut &[u8]) -> Result<u64, BadCoding> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let next = byte(bytes)?;
        let bits = u64::from(next & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(BadCoding);
        }
        value |= bits << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BadCoding)
}
