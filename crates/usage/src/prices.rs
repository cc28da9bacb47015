//! What tokens cost by the list: the built-in table (`prices.toml`), and the operator's entries that go before it.

use crate::{billable::Billable, money::Money};
use chrono::NaiveDate;
use foldhash::HashMap;
use serde::{Deserialize, Deserializer, Serialize};
use std::{error, fmt};
use wildmatch::WildMatch;

/// The built-in table.
const BUILT_IN: &str = include_str!("../../../prices.toml");

/// So many looked-up names are remembered. They come from clients.
const MOST_REMEMBERED: usize = 1_024;

/// One entry of a price table. Prices are whole units of the currency for a million tokens.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PriceEntry {
    /// The model, without `models/`; `*` and `?` stand for any letters and any one.
    #[serde(deserialize_with = "model_of")]
    pub model: String,
    /// The first day (of the usage's own zone) on which it holds; `None`: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NaiveDate>,
    /// Of input; what tools put into the prompt included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<f64>,
    /// Of input from a cache; `None`: as all input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<f64>,
    /// Of output, thoughts included; `None`: output has no known price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<f64>,
    /// Prompts of more tokens than this have the prices below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_tokens: Option<u64>,
    /// The price of input above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_above: Option<f64>,
    /// The price of input from a cache above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_above: Option<f64>,
    /// The price of output above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_above: Option<f64>,
    /// Of each request, whatever it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_request: Option<f64>,
    /// The currency, the same in all of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Where the price is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Why a table of prices is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PriceError {
    /// A price is negative, no number, or beyond all reason.
    Amount {
        /// The entry's model.
        model: String,
        /// Which of its fields.
        field: &'static str,
    },
    /// An entry says that long prompts cost something else, but not from when, or not what.
    Above {
        /// The entry's model.
        model: String,
    },
    /// An entry has no price at all.
    Empty {
        /// The entry's model.
        model: String,
    },
    /// Two entries name different currencies: sums of both would say nothing.
    Currencies(String, String),
    /// The text is no table of prices.
    Syntax(String),
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amount { model, field } => {
                write!(f, "the price of {model} has a {field} that is not a number from 0 to 1000000")
            }
            Self::Above { model } => {
                write!(
                    f,
                    "the price of {model} needs above_tokens, input_above and output_above together, or none of them"
                )
            }
            Self::Empty { model } => {
                write!(f, "the price of {model} names neither input, output nor per_request")
            }
            Self::Currencies(one, other) => {
                write!(f, "prices are in {one} and in {other}: one currency for all")
            }
            Self::Syntax(why) => f.write_str(why),
        }
    }
}

impl error::Error for PriceError {}

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nothing: it is of a kind that is not charged, or never came to be.
    Free,
    /// So much, by the list.
    Known(Money),
    /// Something, but the list does not say what.
    Unknown,
}

/// In which way a request is processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Processing {
    /// At once.
    #[default]
    Standard,
    /// In a batch, at half the price.
    Batch,
}

/// Billionths of a unit of currency for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rates {
    input: Option<u64>,
    cached: Option<u64>,
    output: Option<u64>,
}

#[derive(Clone, Debug)]
struct Price {
    model: WildMatch,
    from: Option<NaiveDate>,
    rates: Rates,
    above: Option<(u64, Rates)>,
    /// Billionths for each request.
    per_request: u64,
}

/// The prices in force. See the module.
#[derive(Clone, Debug)]
pub struct Prices {
    currency: String,
    /// In the order in which they are looked through; of entries of one model the latest first.
    list: Vec<Price>,
    /// The entries of the models looked up lately.
    remembered: HashMap<Box<str>, Box<[usize]>>,
}

/// A table of prices as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// The currency of all its prices.
    pub currency: String,
    /// The day on which its sources were read.
    pub read: NaiveDate,
    /// Its entries, in the order in which they are looked through.
    pub prices: Vec<PriceEntry>,
}

impl PriceTable {
    /// Reads the built-in table.
    pub fn built_in() -> Result<Self, PriceError> {
        Self::parse(BUILT_IN)
    }

    fn parse(text: &str) -> Result<Self, PriceError> {
        toml::from_str(text).map_err(|error| PriceError::Syntax(error.to_string()))
    }
}

impl Prices {
    /// The built-in table, with the operator's entries before it: of several that match, the first named counts. Entries in
    /// another currency than the table's set the table aside.
    pub fn new(entries: &[PriceEntry]) -> Result<Self, PriceError> {
        Self::over(BUILT_IN, entries)
    }

    /// The same over another table.
    pub fn over(table: &str, entries: &[PriceEntry]) -> Result<Self, PriceError> {
        let table = PriceTable::parse(table)?;
        let mut currencies = entries.iter().map(|entry| entry.currency.as_ref().unwrap_or(&table.currency));
        let currency = currencies.next().unwrap_or(&table.currency);
        if let Some(other) = currencies.find(|&other| other != currency) {
            return Err(PriceError::Currencies(currency.clone(), other.clone()));
        }
        let built_in = if *currency == table.currency { &table.prices[..] } else { &[] };
        let mut list = read(entries)?;
        list.extend(read(built_in)?);
        Ok(Self { currency: currency.clone(), list, remembered: HashMap::default() })
    }

    /// The currency of all prices.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// Returns the lengths of prompts beyond which some model has other prices, in order. Prompts with none of them between
    /// have the same price.
    pub fn prompt_bounds(&self) -> Vec<u64> {
        let mut bounds: Vec<_> = self.list.iter().filter_map(|price| Some(price.above.as_ref()?.0)).collect();
        bounds.sort_unstable();
        bounds.dedup();
        bounds
    }

    /// What requests cost that used `billable` of `model` on this day, so many together; `None` where it is not known what
    /// they used.
    pub fn cost(
        &mut self,
        model: &str,
        billable: Option<&Billable>,
        requests: u64,
        processing: Processing,
        day: NaiveDate,
    ) -> Cost {
        let Some(price) = self.find(model, day) else { return Cost::Unknown };
        let nothing = Billable::default();
        let Some(billable) = billable.or(price.is_by_request_alone().then_some(&nothing)) else {
            return Cost::Unknown;
        };
        match price.cost(billable, requests, processing) {
            Some(money) => Cost::Known(money),
            None => Cost::Unknown,
        }
    }

    fn find(&mut self, model: &str, day: NaiveDate) -> Option<&Price> {
        if !self.remembered.contains_key(model) {
            if self.remembered.len() >= MOST_REMEMBERED {
                self.remembered.clear();
            }
            let matching = self.list.iter().enumerate().filter(|(_, price)| price.model.matches(model));
            self.remembered.insert(model.into(), matching.map(|(at, _)| at).collect());
        }
        let mut matching = self.remembered.get(model)?.iter().map(|&at| &self.list[at]);
        matching.find(|price| price.from.is_none_or(|from| from <= day))
    }
}

impl Price {
    /// Whether what was used of tokens makes no difference to what is to be paid.
    fn is_by_request_alone(&self) -> bool {
        let Rates { input, cached, output } = self.rates;
        self.per_request > 0 && input.is_none() && cached.is_none() && output.is_none()
    }

    /// `None` where a kind of token was used that has no price.
    fn cost(&self, billable: &Billable, requests: u64, processing: Processing) -> Option<Money> {
        let rates = match &self.above {
            Some((tokens, rates)) if billable.prompt > *tokens => rates,
            _ => &self.rates,
        };
        let Billable { input, cached, output, thoughts, tool, prompt: _ } = *billable;
        let charged = [
            (rates.input, u128::from(input) + u128::from(tool)),
            (rates.cached.or(rates.input), u128::from(cached)),
            (rates.output, u128::from(output) + u128::from(thoughts)),
        ];
        let mut millionths = 0_u128;
        for (rate, tokens) in charged {
            if tokens > 0 {
                millionths = millionths.saturating_add(u128::from(rate?).saturating_mul(tokens));
            }
        }
        let for_requests = u128::from(self.per_request).saturating_mul(u128::from(requests));
        millionths = millionths.saturating_add(for_requests.saturating_mul(1_000_000));
        let divisor = match processing {
            Processing::Standard => 1_000_000,
            Processing::Batch => 2_000_000,
        };
        let billionths = millionths.saturating_add(divisor / 2) / divisor; // to the nearest
        Some(Money::from_billionths(u64::try_from(billionths).unwrap_or(u64::MAX)))
    }
}

/// Reads a model's name: Google's come with and without `models/` in front, and requests are counted without.
fn model_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    Ok(name.strip_prefix("models/").map(str::to_owned).unwrap_or(name))
}

/// Entries of one model stand together where the first of them stands, the one that begins last before the others.
fn read(entries: &[PriceEntry]) -> Result<Vec<Price>, PriceError> {
    let mut groups: Vec<(&str, Vec<Price>)> = Vec::new();
    for entry in entries {
        let price = price(entry)?;
        match groups.iter_mut().find(|(model, _)| *model == entry.model) {
            Some((_, group)) => group.push(price),
            None => groups.push((&entry.model, vec![price])),
        }
    }
    Ok(groups
        .into_iter()
        .flat_map(|(_, mut group)| {
            group.sort_by_key(|price| std::cmp::Reverse(price.from));
            group
        })
        .collect())
}

fn price(entry: &PriceEntry) -> Result<Price, PriceError> {
    let model = || entry.model.clone();
    let amount = |field, value: Option<f64>| -> Result<Option<u64>, PriceError> {
        let Some(value) = value else { return Ok(None) };
        if !(0.0..=1e6).contains(&value) {
            return Err(PriceError::Amount { model: model(), field });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within bounds, and rounded"
        )]
        Ok(Some((value * 1e9).round() as u64))
    };
    if entry.input.is_none() && entry.output.is_none() && entry.per_request.is_none() {
        return Err(PriceError::Empty { model: model() });
    }
    let rates = Rates {
        input: amount("input", entry.input)?,
        cached: amount("cached", entry.cached)?,
        output: amount("output", entry.output)?,
    };
    let above = Rates {
        input: amount("input_above", entry.input_above)?,
        cached: amount("cached_above", entry.cached_above)?,
        output: amount("output_above", entry.output_above)?,
    };
    let above = match (entry.above_tokens, above) {
        (None, Rates { input: None, cached: None, output: None }) => None,
        (Some(tokens), Rates { input: Some(_), output: Some(_), .. }) => Some((tokens, above)),
        _ => return Err(PriceError::Above { model: model() }),
    };
    Ok(Price {
        model: WildMatch::new(&entry.model),
        from: entry.from,
        rates,
        above,
        per_request: amount("per_request", entry.per_request)?.unwrap_or(0),
    })
}
