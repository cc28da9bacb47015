//! Amounts of money, exact: whole billionths of one unit of the price table's currency.

use std::fmt;

/// Billionths of a unit of currency. Adding saturates at [`Money::MAX`], so that sums are the same in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(u64);

impl Money {
    /// What costs nothing. What has no price is not this, but unknown.
    pub const ZERO: Self = Self(0);
    /// The most there is: what a signed column of a database can hold.
    pub const MAX: Self = Self(crate::count::MOST);

    /// From billionths; more than [`Money::MAX`] counts as that.
    pub fn from_billionths(billionths: u64) -> Self {
        Self(billionths.min(Self::MAX.0))
    }

    /// Returns the amount in billionths of the currency's unit.
    pub fn billionths(self) -> u64 {
        self.0
    }

    /// Adds, and stops at the largest amount that can be kept.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::from_billionths(self.0.saturating_add(other.0))
    }
}

/// In whole units, with nine decimals.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_in_whole_units_with_nine_decimals() {
        for (billionths, text) in [(0, "0.000000000"), (1, "0.000000001"), (12_030_000_000, "12.030000000")] {
            assert_eq!(Money::from_billionths(billionths).to_string(), text);
        }
        assert_eq!(Money::MAX.plus(Money::from_billionths(1)), Money::MAX);
    }
}
