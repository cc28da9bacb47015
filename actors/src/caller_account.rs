//! What one request does to its caller's account: the pass it was let in with, the estimate that is booked once its body
//! is known, and what Google says that it used. The HTTP face opens it; the request's actor settles it at the end.

use crate::{
    clock::Clock,
    cluster::SharedCallers,
    failure::Failure,
    transaction::{End, Transaction},
};
use callers::{Denial, Ending, Estimate, Pass, Registered, Spent};
use chrono::NaiveDate;
use gemini::usage::Usage;
use std::{cell::RefCell, rc::Rc, sync::Arc};
use usage::{Billable, Cost, Prices, Processing, billable};

/// The price table of a worker.
pub type SharedPrices = Rc<RefCell<Prices>>;

/// One request on its caller's account. See the module. Dropped before it was handed on it does not count, as the gateway
/// itself has refused it; dropped later, nobody knows what it has used.
#[must_use]
pub struct CallerAccount {
    pass: Option<Pass>,
    token: Arc<Registered>,
    is_handed_on: bool,
    spends: bool,
    clock: Clock,
    prices: SharedPrices,
    /// Who counts together with this gateway, in a cluster.
    together: Option<SharedCallers>,
}

impl Drop for CallerAccount {
    fn drop(&mut self) {
        self.end(if self.is_handed_on { Ending::Unknown } else { Ending::GivenBack });
    }
}

impl CallerAccount {
    /// Takes the pass that the request was let in with. `spends` tells whether it uses what is paid for.
    pub fn new(pass: Pass, spends: bool, clock: Clock, prices: SharedPrices) -> Self {
        let token = Arc::clone(pass.caller());
        Self { pass: Some(pass), token, is_handed_on: false, spends, clock, prices, together: None }
    }

    /// Counts it together with the other gateways, if there are any: it may wait until they are told, and be refused for what
    /// they have let in.
    pub async fn counted_with(mut self, together: Option<&SharedCallers>) -> Result<Self, Denial> {
        self.together = together.cloned();
        self.confirm().await?;
        Ok(self)
    }

    async fn confirm(&mut self) -> Result<(), Denial> {
        match (&self.together, &mut self.pass) {
            // Boxed, as most requests come here without others and all would carry its memory.
            (Some(together), Some(pass)) => Box::pin(together.confirm(pass)).await,
            _ => Ok(()),
        }
    }

    /// The request goes on to its actor.
    pub(crate) fn hand_on(mut self) -> Self {
        self.is_handed_on = true;
        self
    }

    fn end(&mut self, ending: Ending) {
        if let Some(pass) = self.pass.take() {
            pass.settle(ending, self.clock.now());
        }
    }

    /// Books what the request is thought to use, if it uses anything.
    pub(crate) async fn reserve(
        &mut self,
        model: Option<&Arc<str>>,
        input_tokens: impl FnOnce() -> u64,
    ) -> Result<(), Failure> {
        if !self.spends {
            return Ok(());
        }
        let (counts, costs) = (self.token.spec().limits.limit_spending(), self.counts_money());
        let Some(pass) = &mut self.pass else { return Ok(()) };
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
        pass.reserve(estimate, now).map_err(Failure::Denied)?;
        if !counts {
            return Ok(());
        }
        self.confirm().await.map_err(Failure::Denied)
    }

    /// Counts what a session has used in one turn.
    pub(crate) fn spend(&mut self, model: Option<&Arc<str>>, turn: &Usage) {
        let spent = self.spent(model, turn);
        if let (Some(pass), Some(spent)) = (&mut self.pass, spent) {
            pass.spend(spent, self.clock.now());
        }
    }

    /// Settles a session, whose turns are counted already.
    pub(crate) fn settle_session(mut self, was_tried: bool) {
        let ending = if was_tried { Ending::Spent(Spent::default()) } else { Ending::GivenBack };
        self.end(ending);
    }

    /// Settles a request that was answered with what another has used.
    pub(crate) fn settle_free(mut self) {
        self.end(Ending::Spent(Spent::default()));
    }

    /// Settles a request by how it ended.
    pub(crate) fn settle(mut self, transaction: &Transaction) {
        let ending = match &transaction.usage {
            // Nothing was asked of Google.
            _ if transaction.attempts.is_empty() => Ending::GivenBack,
            Some(used) => self.spent(transaction.model.as_ref(), used).map_or(Ending::Unknown, Ending::Spent),
            // Google has refused it, or was not reached.
            None if transaction.status >= 400
                || transaction.end == End::Refused && transaction.status == 0 =>
            {
                Ending::Spent(Spent::default())
            }
            None => Ending::Unknown,
        };
        self.end(ending);
    }

    /// `None` where it is not known what of it is charged for.
    fn spent(&self, model: Option<&Arc<str>>, used: &Usage) -> Option<Spent> {
        let used = billable(used)?;
        let output_tokens = used.output.saturating_add(used.thoughts);
        let input = used.input.saturating_add(used.cached).saturating_add(used.tool);
        let day = self.clock.now().wall.date_naive();
        let money = match model {
            Some(model) if self.counts_money() => cost(&self.prices, model, &used, day),
            _ => 0,
        };
        Some(Spent { tokens: input.saturating_add(output_tokens), output_tokens, money })
    }

    fn counts_money(&self) -> bool {
        let limits = &self.token.spec().limits;
        limits.money_day.is_some() || limits.money_month.is_some()
    }
}

/// In billionths. What has no price is not counted in money: who sets such a budget names the models.
fn cost(prices: &RefCell<Prices>, model: &str, used: &Billable, day: NaiveDate) -> u64 {
    match prices.borrow_mut().cost(model, Some(used), 1, Processing::Standard, day) {
        Cost::Known(money) => money.billionths(),
        Cost::Free | Cost::Unknown => 0,
    }
}
