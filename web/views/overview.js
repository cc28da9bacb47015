// How the gateway is: what happens now, what needs a hand, and the newest requests.
import { html } from '/assets/vendor/preact.js';
import { newest, overview, stream, useAsked } from '/assets/api.js';
import { count, millis, money, percent, short, span } from '/assets/format.js';
import { t, word } from '/assets/i18n.js';
import { Plot } from '/assets/plot.js';
import { address } from '/assets/route.js';
import { Busy, Empty, Failure, State, Status, Time } from '/assets/ui.js';
import { Alone, Gateways, useCluster } from '/assets/views/gateways.js';

const SHOWN = 12;

function today(rows) {
  const sums = { tokens: 0, cost: 0, requests: 0, unpriced: 0, currency: 'USD' };
  for (const row of rows) {
    sums.tokens += row.input_tokens + row.cached_tokens + row.output_tokens + row.thoughts_tokens + row.tool_tokens;
    sums.cost += row.cost;
    sums.requests += row.requests;
    sums.unpriced += row.unpriced;
    sums.currency = row.currency;
  }
  return sums;
}

function against(now, before) {
  if (!before) return t('yesterday.none');
  const change = (now - before) / before;
  return t('yesterday', { change: `${change >= 0 ? '+' : '−'}${percent(Math.abs(change))}` });
}

function Tile({ name, value, unit, sub }) {
  return html`<div class="tile"><dt>${name}</dt><dd>${value}${unit ? html`<small>${unit}</small>` : null}</dd><dd class="sub" title=${sub}>${sub || ' '}</dd></div>`;
}

function Hand({ it, days, isAlone }) {
  const notes = [];
  for (const [name, part] of Object.entries(it.components)) {
    // Why a gateway is alone stands above already.
    const reason = isAlone && name === 'cluster' ? '' : part.reason;
    if (part.state !== 'up') notes.push(['bad', t('hand.component', { name, state: word('state', part.state) }), reason, '#/settings']);
  }
  if (it.draining) notes.push(['bad', t('hand.draining'), '', '#/overview']);
  if (it.keys.total > 0 && it.keys.available + it.keys.probation === 0) notes.push(['bad', t('hand.nokey'), it.back_in_ms ? t('back.in', { time: span(it.back_in_ms / 1000) }) : '', '#/keys']);
  if (it.keys.retired) notes.push(['bad', t('hand.retired', { n: it.keys.retired }), '', address('keys', { state: 'retired' })]);
  for (const down of it.models_down) notes.push(['bad', t('hand.down', { model: down.model }), t('tried.in', { time: span(down.back_in_ms / 1000) }), '#/models']);
  for (const caller of it.spent) notes.push(['warn', t('hand.spent', { name: caller.name, limit: word('limit', caller.limit) }), caller.opens_in_s ? t('opens.in', { time: span(caller.opens_in_s) }) : '', '#/callers']);
  if (it.restart_needed.length) notes.push(['warn', t('hand.restart', { n: it.restart_needed.length }), it.restart_needed.slice(0, 3).join(', '), '#/settings']);
  if (days?.unpriced) notes.push(['warn', t('hand.unpriced', { n: count(days.unpriced) }), '', '#/models']);
  if (it.lost) notes.push(['warn', t('hand.lost', { n: count(it.lost) }), '', '#/usage']);
  return html`<section class="panel"><header><h2>${t('hand')}</h2></header><div class="body">
    ${notes.length ? html`<ul class="notes">${notes.slice(0, 8).map(([tone, text, more, link]) => html`<li key=${text}><span class=${`state ${tone}`}><i></i></span><span>${text}${more ? html` <span class="soft">${more}</span>` : null}</span><a class="push" href=${link}>${t('look')}</a></li>`)}</ul>`
      : html`<p class="soft">${t('hand.none')}</p>`}
  </div></section>`;
}

function Pool({ keys }) {
  const parts = [['available', 'good'], ['probation', 'warn'], ['cooling', 'warn'], ['retired', 'bad'], ['disabled', 'off']];
  return html`<section class="panel"><header><h2>${t('keys')}</h2><a class="push" href="#/keys">${t('all.keys', { n: count(keys.total) })}</a></header><div class="body">
    <div class="split" aria-hidden="true">${parts.filter(([state]) => keys[state]).map(([state, tone]) => html`<i key=${state} class=${tone} style=${{ flex: `${keys[state]} 0 0` }}></i>`)}</div>
    <div class="legend under">${parts.map(([state]) => html`<a key=${state} class=${keys[state] ? '' : 'zero'} href=${address('keys', { state })}><${State} state=${state} /><b>${count(keys[state])}</b></a>`)}</div>
  </div></section>`;
}

function minutes(rows) {
  const now = Math.floor(Date.now() / 60000) * 60;
  const by = new Map(rows.map((row) => [Math.floor(Date.parse(row.from) / 1000), row]));
  const at = Array.from({ length: 60 }, (_, n) => now - (59 - n) * 60);
  const pick = (of) => at.map((time) => { const row = by.get(time); return row ? of(row) : 0; });
  return {
    at,
    series: [
      { name: t('answered'), values: pick((row) => row.answered) },
      { name: t('refused'), tone: 'warn', values: pick((row) => row.refused_caller + row.refused_pool + row.refused_google) },
      { name: t('failed'), tone: 'bad', values: pick((row) => row.failed + row.broken) },
      { name: t('clients.own'), tone: 'off', values: pick((row) => row.client_errors + row.left) },
    ],
  };
}

/** The overview where this gateway is one of several. Elsewhere nobody asks for others. */
function Clustered() {
  const asked = useCluster();
  return html`<${Whole} asked=${asked} />`;
}

export default function Overview() {
  return overview.value?.components.cluster ? html`<${Clustered} />` : html`<${Whole} />`;
}

/** @param {{asked?: {data: any, error: Error|null, again: () => void}}} props */
function Whole({ asked }) {
  const it = overview.value;
  const usage = useAsked('/api/usage?step=day&by=&from=-48h', 15000);
  const hour = useAsked('/api/usage?step=minute&by=&from=-60m', 10000);
  if (!it) return html`${stream.value === 'waiting' ? html`<${Busy} />` : html`<${Failure} error=${new Error(t('no.gateway'))} />`}`;
  const rows = usage.data?.rows || [];
  const last = rows[rows.length - 1];
  const isToday = last && Date.parse(last.to) > Date.now();
  const days = today(isToday ? rows.filter((row) => row.from === last.from) : []);
  const before = today(rows.filter((row) => !isToday || row.from !== last.from).slice(-1));
  const minute = it.minute;
  const ended = minute ? minute.answered + minute.failed : 0;
  const plot = minutes(hour.data?.rows || []);
  return html`<div class="head"><h1>${t('overview')}</h1></div>
  ${stream.value === 'waiting' ? html`<div class="banner warn" role="status">${t('live.off.long')}</div>` : null}
  <${Alone} cluster=${asked?.data} />
  <div class="stack">
    <dl class="tiles">
      <${Tile} name=${t('requests.now')} value=${minute ? (minute.per_second < 10 ? minute.per_second.toFixed(1) : count(Math.round(minute.per_second))) : '–'} unit=${t('per.second')} sub=${t('last.minute', { n: count(minute?.requests || 0) })} />
      <${Tile} name=${t('in.flight')} value=${count(it.in_flight)} sub=${t('waiting.for.key', { n: count(it.keys.waiting) })} />
      <${Tile} name=${t('success')} value=${ended ? percent(minute.answered / ended) : '–'} sub=${minute && ended ? t('not.answered', { n: count(minute.failed) }) : t('nothing.asked')} />
      <${Tile} name=${t('first.byte')} value=${millis(minute?.first_byte_p50_ms)} sub=${`p95 ${millis(minute?.first_byte_p95_ms)}`} />
      <${Tile} name=${t('tokens.today')} value=${short(days.tokens)} sub=${against(days.tokens, before.tokens)} />
      <${Tile} name=${t('cost.today')} value=${money(days.cost, days.currency)} sub=${against(days.cost, before.cost)} />
    </dl>
    <div class="grid2"><${Hand} it=${it} days=${days} isAlone=${Boolean(asked?.data?.alone)} /><${Pool} keys=${it.keys} /></div>
    ${asked ? html`<${Gateways} asked=${asked} />` : null}
    <section class="panel"><header><h2>${t('last.hour')}</h2><span class="push">${t('by.minute')}</span></header><div class="body">
      <${Failure} error=${hour.error} again=${hour.again} />
      <${Plot} at=${plot.at} series=${plot.series} bars whole height=${190} label=${t('last.hour')} show=${(n) => count(Math.round(n))} />
    </div></section>
    <section class="panel"><header><h2>${t('newest')}</h2><a class="push" href="#/requests">${t('all.requests')}</a></header>
      ${newest.value.length === 0 ? html`<${Empty} title=${t('requests.none')}><p>${t('requests.none.how')}</p></${Empty}>` : html`<div class="scroll"><table class="table">
        <thead><tr><th>${t('time')}</th><th>${t('caller')}</th><th>${t('model')}</th><th>${t('status')}</th><th>${t('key')}</th><th class="num">${t('took')}</th></tr></thead>
        <tbody>${newest.value.slice(0, SHOWN).map((row) => html`<tr key=${row.id} class="open-able" onClick=${() => { location.hash = address('requests', {}, row.id); }}>
          <td><a href=${address('requests', {}, row.id)}><${Time} at=${row.time} /></a></td><td class="clip">${row.caller || html`<span class="soft">–</span>`}</td><td class="clip">${row.model || html`<span class="soft">${row.verb || row.path}</span>`}</td>
          <td><${Status} status=${row.status} end=${row.end} by=${row.refused_by} /></td><td class="clip">${row.attempts.length ? row.attempts[row.attempts.length - 1].key : '–'}${row.attempts.length > 1 ? html` <span class="tag">${t('attempts.n', { n: row.attempts.length })}</span>` : null}</td><td class="num">${millis(row.total_ms)}</td></tr>`)}</tbody></table></div>`}
    </section>
  </div>`;
}
