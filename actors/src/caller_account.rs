//! What one request does to its caller's account: the pass it was let in with, the estimate that is booked once its body
//! is known, and what Google says that it used. The HTTP face opens it; the request's actor settles it at the end.

use crate::{
    clock::Clock,
    failure::Failure,
    transaction::{End, Transaction},
};
use callers::{Denial, Ending, Estimate, LimitName, Pass, Spent};
use chrono::NaiveDate;
use gemini::usage::Usage;
use std::{cell::RefCell, rc::Rc, sync::Arc};
use usage::{Billable, Cost, Prices, Processing, billable};

/// The price table of a worker.
pub type SharedPrices = Rc<RefCell<Prices>>;

/// One request on its caller's account. See the module. Dropped without its end, what it has used is not known.
#[must_use]
pub struct CallerAccount {
    pass: Pass,
    spends: bool,
    clock: Clock,
    prices: SharedPrices,
}

impl CallerAccount {
    /// Takes the pass that the request was let in with. `spends` tells whether it uses what is paid for.
    pub fn new(pass: Pass, spends: bool, clock: Clock, prices: SharedPrices) -> Self {
        Self { pass, spends, clock, prices }
    }

    /// Gives the pass back: the gateway itself has refused the request.
    pub fn give_back(self) {
        self.pass.settle(Ending::GivenBack, self.clock.now());
    }

    /// Books what the request is thought to use, if it uses anything.
    pub(crate) fn reserve(
        &mut self,
        model: Option<&Arc<str>>,
        input_tokens: impl FnOnce() -> u64,
    ) -> Result<(), Failure> {
        if !self.spends {
            return Ok(());
        }
        let limits = &self.pass.caller().spec().limits;
        let (counts, costs) = (limits.limit_spending(), limit_money(&self.pass));
        let now = self.clock.now();
        let (prices, day) = (&self.prices, now.wall.date_naive());
        let price = |input, output| match model {
            Some(model) if costs => {
                let used = Billable { input, output, prompt: input, ..Billable::default() };
                cost(prices, model, &used, day)
            }
            _ => 0,
        };
        let input_tokens = if counts { input_tokens() } else { 0 };
        let estimate = Estimate { model, input_tokens, price: &price };
        self.pass.reserve(estimate, now).map_err(|denial: Denial| Failure::Denied(denial))
    }

    /// Counts what a session has used in one turn.
    pub(crate) fn spend(&mut self, model: Option<&Arc<str>>, turn: &Usage) {
        let spent = self.spent(model, turn);
        self.pass.spend(spent, self.clock.now());
    }

    /// Settles a session, whose turns are counted already.
    pub(crate) fn settle_session(self, was_tried: bool) {
        let ending = if was_tried { Ending::Spent(Spent::default()) } else { Ending::GivenBack };
        self.pass.settle(ending, self.clock.now());
    }

    /// Settles a request by how it ended.
    pub(crate) fn settle(self, transaction: &Transaction) {
        let ending = match &transaction.usage {
            // Nothing was asked of Google.
            _ if transaction.attempts.is_empty() => Ending::GivenBack,
            Some(used) => Ending::Spent(self.spent(transaction.model.as_ref(), used)),
            // Google has refused it, or was not reached.
            None if transaction.status >= 400 || transaction.end == End::Refused => {
                Ending::Spent(Spent::default())
            }
            None => Ending::Unknown,
        };
        self.pass.settle(ending, self.clock.now());
    }

    fn spent(&self, model: Option<&Arc<str>>, used: &Usage) -> Spent {
        let used = billable(used);
        let output_tokens = used.output.saturating_add(used.thoughts);
        let input = used.input.saturating_add(used.cached).saturating_add(used.tool);
        let day = self.clock.now().wall.date_naive();
        let money = match model {
            Some(model) if limit_money(&self.pass) => cost(&self.prices, model, &used, day),
            _ => 0,
        };
        Spent { tokens: input.saturating_add(output_tokens), output_tokens, money }
    }
}

fn limit_money(pass: &Pass) -> bool {
    let limits = &pass.caller().spec().limits;
    [LimitName::MoneyDay, LimitName::MoneyMonth].into_iter().any(|name| limits.get(name).is_some())
}

/// In billionths. What has no price is not counted in money: who sets such a budget names the models.
fn cost(prices: &RefCell<Prices>, model: &str, used: &Billable, day: NaiveDate) -> u64 {
    match prices.borrow_mut().cost(model, used, Processing::Standard, day) {
        Cost::Known(money) => money.billionths(),
        Cost::Free | Cost::Unknown => 0,
    }
}
