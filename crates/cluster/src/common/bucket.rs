//! A bucket in memory, written to be seen through rather than to be quick: every use is a line of a list, every sum is made
//! anew. What the scripts on Redis answer is held against it.

use std::collections::BTreeMap;

use crate::{bucket::Counted, node::NodeId};

/// How many seconds count.
const SPAN: i64 = 61;
/// Google counts a request when it arrives.
const GUARD_MS: i64 = 500;
const LONGEST_SLICE_MS: i64 = 10_000;
const LONGEST_DAY_MS: i64 = 25 * 3_600_000;
const DAY_MS: i64 = 24 * 3_600_000;
/// What another holds may be back by then.
const SOON_MS: i64 = 1_000;

/// What one owner may still use of one model. Times are milliseconds of the shared clock.
#[derive(Clone, Debug)]
pub(super) struct CommonBucket {
    generation: i64,
    /// The last second seen.
    last: i64,
    uses: Vec<Use>,
    slices: BTreeMap<NodeId, HeldSlice>,
    day: i64,
    /// What this generation's nodes have said of the day.
    day_said: i64,
    day_began: i64,
    /// Zero: not known.
    day_ends: i64,
    pub(super) closed_until: i64,
    /// Requests and tokens in a minute, requests in a day; `-1` for none.
    pub(super) limits: [i64; 3],
}

#[derive(Clone, Copy, Debug)]
struct Use {
    second: i64,
    requests: i64,
    tokens: i64,
}

#[derive(Clone, Copy, Debug)]
struct HeldSlice {
    requests: i64,
    tokens: i64,
    deadline: i64,
}

/// A draw in numbers.
pub(super) struct Asked<'a> {
    pub(super) node: &'a NodeId,
    pub(super) have: (i64, i64),
    pub(super) want: (i64, i64),
    pub(super) lives_ms: i64,
    pub(super) day_ends: i64,
    pub(super) day_used: Option<i64>,
    /// Age in milliseconds, requests, tokens.
    pub(super) reports: Vec<(i64, i64, i64)>,
}

/// The run of the shared state at a moment.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) now: i64,
    pub(super) generation: i64,
    pub(super) hold_until: i64,
}

impl Default for CommonBucket {
    fn default() -> Self {
        Self {
            generation: 0,
            last: 0,
            uses: Vec::new(),
            slices: BTreeMap::new(),
            day: 0,
            day_said: 0,
            day_began: 0,
            day_ends: 0,
            closed_until: 0,
            limits: [-1; 3],
        }
    }
}

impl CommonBucket {
    pub(super) fn draw(&mut self, run: Run, asked: &Asked<'_>) -> Counted {
        let now = run.now;
        self.renew(run.generation);
        self.move_on(now);
        self.slices.remove(asked.node);
        self.end_slices(now);
        self.turn_day(now, asked.day_ends);
        self.report(now, asked);

        let mut have = asked.have;
        if self.limits[1] < 0 {
            have.1 = 0;
        }
        let is_shared = !self.slices.is_empty();
        let left = self.left(have);
        let give = if run.generation > 0 && now >= self.closed_until && now >= run.hold_until {
            give(asked.want, have, left, is_shared)
        } else {
            (0, 0)
        };
        let own = (have.0 + give.0, if self.limits[1] < 0 { 0 } else { have.1 + give.1 });
        if own != (0, 0) {
            let deadline = now + asked.lives_ms.min(LONGEST_SLICE_MS);
            self.slices.insert(asked.node.clone(), HeldSlice { requests: own.0, tokens: own.1, deadline });
        }
        let left = [left[0].map(|n| n - give.0), left[1].map(|n| n - give.1), left[2].map(|n| n - give.0)];
        let mut opens =
            if left[0] == Some(0) || left[1] == Some(0) { self.opening(now, is_shared) } else { 0 };
        for closed in [self.closed_until, run.hold_until] {
            if closed > now {
                opens = opens.max(closed);
            }
        }
        Counted {
            given: [give.0, give.1],
            left: left.map(|left| left.unwrap_or(-1)),
            opens_in: (opens - now).max(0),
            closed_for: (self.closed_until - now).max(0),
            limits: self.limits,
        }
    }

    /// Begins a count for another generation; the day's and a refusal stay.
    fn renew(&mut self, generation: i64) {
        if self.generation != generation {
            self.generation = generation;
            self.last = 0;
            self.uses.clear();
            self.slices.clear();
            self.day_said = 0;
        }
    }

    fn move_on(&mut self, now: i64) {
        let second = now.div_euclid(1_000);
        if self.last != 0 && second < self.last {
            // The clock was set back: all that is counted counts as of now.
            for used in &mut self.uses {
                used.second = second;
            }
            for slice in self.slices.values_mut() {
                slice.deadline = slice.deadline.min(now + LONGEST_SLICE_MS);
            }
        }
        self.last = second;
        self.uses.retain(|used| used.second > second - SPAN);
    }

    fn book(&mut self, at: i64, requests: i64, tokens: i64) {
        let second = at.div_euclid(1_000).min(self.last + 1);
        if second > self.last - SPAN {
            self.uses.push(Use { second, requests, tokens });
        }
    }

    /// What was held by those who did not renew may all have been spent.
    fn end_slices(&mut self, now: i64) {
        let ended: Vec<_> = self.slices.values().filter(|slice| slice.deadline <= now).copied().collect();
        self.slices.retain(|_, slice| slice.deadline > now);
        for slice in ended {
            self.book(slice.deadline + GUARD_MS, slice.requests, slice.tokens);
        }
    }

    fn turn_day(&mut self, now: i64, day_ends: i64) {
        if self.day_ends > 0 && now >= self.day_ends {
            (self.day, self.day_said, self.day_began, self.day_ends) = (0, 0, self.day_ends, 0);
        }
        if self.day_ends == 0 && day_ends > now {
            self.day_ends = day_ends.min(now + LONGEST_DAY_MS);
            if self.day_began == 0 {
                self.day_began = self.day_ends - DAY_MS;
            }
        }
    }

    fn report(&mut self, now: i64, asked: &Asked<'_>) {
        for &(age, requests, tokens) in &asked.reports {
            self.book(now - age + GUARD_MS, requests, tokens);
            if asked.day_used.is_none() && now - age >= self.day_began {
                self.day += requests;
                self.day_said += requests;
            }
        }
        self.day_said += asked.day_used.unwrap_or(0);
        self.day = self.day.max(self.day_said).max(0);
    }

    /// Requests, tokens and requests of the day that are left beside all slices and what a node has; `None`: not limited.
    fn left(&self, have: (i64, i64)) -> [Option<i64>; 3] {
        let [held, held_tokens] = self.held();
        let [used, used_tokens] = self.used(self.last - SPAN);
        let day = rest(self.limits[2], self.day, held + have.0);
        let minute = rest(self.limits[0], used, held + have.0);
        let requests = minute.into_iter().chain(day).min();
        [requests, rest(self.limits[1], used_tokens, held_tokens + have.1), day]
    }

    fn held(&self) -> [i64; 2] {
        let slices = self.slices.values();
        slices.fold([0, 0], |sum, slice| [sum[0] + slice.requests, sum[1] + slice.tokens])
    }

    /// What was used after this second.
    fn used(&self, after: i64) -> [i64; 2] {
        let uses = self.uses.iter().filter(|used| used.second > after);
        uses.fold([0, 0], |sum, used| [sum[0] + used.requests, sum[1] + used.tokens])
    }

    /// When there may be room again: what others hold may come back sooner than it would be spent.
    fn opening(&self, now: i64, is_shared: bool) -> i64 {
        let mut opens = self.leaving(now);
        if is_shared {
            opens = opens.min(now + SOON_MS);
        }
        if self.limits[2] >= 0 && self.day + self.held()[0] >= self.limits[2] {
            let day = if is_shared || self.day_ends == 0 { now + SOON_MS } else { self.day_ends };
            opens = opens.max(day);
        }
        opens.max(now + 20)
    }

    /// When enough seconds have left the window for there to be room; now if there is.
    fn leaving(&self, now: i64) -> i64 {
        let [held, held_tokens] = self.held();
        let has_room_after = |second: i64| {
            let [used, used_tokens] = self.used(second);
            rest(self.limits[0], used, held) != Some(0)
                && rest(self.limits[1], used_tokens, held_tokens) != Some(0)
        };
        if has_room_after(self.last - SPAN) {
            return now;
        }
        let mut seconds = (self.last - SPAN + 1)..=(self.last + 1);
        seconds.find(|second| has_room_after(*second)).map_or(now + SOON_MS, |second| (second + SPAN) * 1_000)
    }
}

/// How much of what is left one node may have.
fn give(want: (i64, i64), have: (i64, i64), left: [Option<i64>; 3], is_shared: bool) -> (i64, i64) {
    let part = |want: i64, left: Option<i64>| match left {
        None => want,
        Some(left) if is_shared && left > 0 => want.min((left / 2).max(1)),
        Some(left) => want.min(left),
    };
    let (mut requests, mut tokens) = (part(want.0, left[0]), part(want.1, left[1]));
    if left[1].is_some() {
        if requests > 0 && requests < want.0 {
            tokens = tokens.min((want.1 * requests + want.0 - 1) / want.0);
        }
        // Neither is of use without the other.
        if want.1 > 0 && have.1 + tokens == 0 {
            requests = 0;
        }
    }
    if have.0 + requests == 0 {
        tokens = 0;
    }
    (requests, tokens)
}

/// What is left of a limit; more may have been taken back than is still in the window.
fn rest(limit: i64, used: i64, held: i64) -> Option<i64> {
    (limit >= 0).then(|| (limit - used.max(0) - held).max(0))
}
