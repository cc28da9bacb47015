// What went wrong among the newest requests: faults by kind with Google's own words and what to do, and refusals.
import { html } from '/assets/vendor/preact.js';
import { useAsked } from '/assets/api.js';
import { count } from '/assets/format.js';
import { t, word } from '/assets/i18n.js';
import { Plot } from '/assets/plot.js';
import { address } from '/assets/route.js';
import { Busy, Empty, Failure, Status, Time } from '/assets/ui.js';

function overTime(rows) {
  const by = new Map(rows.map((row) => [Date.parse(row.from) / 1000, row]));
  const now = Math.floor(Date.now() / 60000) * 60;
  const at = Array.from({ length: 60 }, (_, n) => now - (59 - n) * 60);
  const pick = (name, of, tone) => ({ name, tone, values: at.map((time) => (by.has(time) ? of(by.get(time)) : 0)) });
  return { at, series: [pick(t('by.google'), (row) => row.refused_google), pick(t('by.pool'), (row) => row.refused_pool), pick(t('by.caller'), (row) => row.refused_caller, 'off'), pick(t('failed'), (row) => row.failed + row.broken, 'bad')] };
}

function Last({ list, text }) {
  return html`<div class="scroll"><table class="table"><thead><tr><th>${t('time')}</th><th>${t('model')}</th><th>${t('key')}</th><th>${t('status')}</th><th>${t('words')}</th></tr></thead>
    <tbody>${list.map((one, n) => html`<tr key=${n}><td><a href=${address('requests', {}, one.id)}><${Time} at=${one.time} /></a></td><td class="clip">${one.model || '–'}</td><td class="clip">${one.key || '–'}</td><td>${one.status || '–'}</td><td class="wrap soft">${one[text] || '–'}</td></tr>`)}</tbody></table></div>`;
}

export default function Errors() {
  const asked = useAsked('/api/errors', 5000);
  const hour = useAsked('/api/usage?step=minute&by=&from=-60m', 15000);
  const { faults = [], refusals = [], kept = 0 } = asked.data || {};
  const plot = overTime(hour.data?.rows || []);
  return html`<div class="head"><h1>${t('errors')}</h1><span class="lead">${asked.data ? t('among', { n: count(kept) }) : ''}</span></div>
  <${Failure} error=${asked.error} again=${asked.again} />
  ${!asked.data ? (asked.error ? null : html`<${Busy} />`) : faults.length + refusals.length === 0 ? html`<section class="panel"><${Empty} title=${t('errors.none')}><p>${t('errors.none.how')}</p></${Empty}></section>` : html`<div class="stack">
    <section class="panel"><header><h2>${t('not.answered.hour')}</h2><span class="push">${t('by.minute')}</span></header><div class="body"><${Plot} at=${plot.at} series=${plot.series} bars whole height=${170} show=${(n) => count(Math.round(n))} label=${t('not.answered.hour')} /></div></section>
    ${faults.map((one) => html`<section class="panel" key=${one.fault}><header><h2>${one.fault}</h2><span class="tag">${count(one.count)}</span><span class="push"><a href=${address('requests', { fault: one.fault })}>${t('its.requests')}</a></span></header>
      <div class="body stack"><dl class="pairs"><dt>${t('says')}</dt><dd>${one.says}</dd><dt>${t('left.alone')}</dt><dd>${one.left_alone}</dd><dt>${t('then')}</dt><dd>${one.request}</dd><dt>${t('advice')}</dt><dd>${one.advice}</dd></dl><${Last} list=${one.last} text="words" /></div></section>`)}
    ${refusals.map((one) => html`<section class="panel" key=${`${one.status}${one.by}${one.limit}`}><header><h2>${t('refusals.by', { by: word('by', one.by) })}</h2><${Status} status=${one.status} />${one.limit ? html`<span class="tag">${word('limit', one.limit)}</span>` : null}<span class="tag">${count(one.count)}</span></header>
      <div class="scroll"><table class="table"><thead><tr><th>${t('time')}</th><th>${t('told')}</th></tr></thead><tbody>${one.last.map((row) => html`<tr key=${row.id}><td><a href=${address('requests', {}, row.id)}><${Time} at=${row.time} /></a></td><td class="wrap soft">${row.told}</td></tr>`)}</tbody></table></div></section>`)}
  </div>`}`;
}
