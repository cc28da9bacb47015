// What was used: by whom, of what, over which time; as a plot, as a table, as a file.
import { html } from '/assets/vendor/preact.js';
import { useAsked } from '/assets/api.js';
import { count, money, moment, short, day } from '/assets/format.js';
import { t } from '/assets/i18n.js';
import { Plot } from '/assets/plot.js';
import { refine, route } from '/assets/route.js';
import { Busy, Choice, Empty, Failure } from '/assets/ui.js';

const SPANS = { hour: ['-24h', 'hour', 3600], day: ['-30d', 'day', 86400], month: ['-365d', 'month', 0] };
const BY = ['model', 'caller', 'key', 'project'];
const MEASURES = ['requests', 'tokens', 'cost'];
const SERIES = 5;

const tokens = (row) => row.input_tokens + row.cached_tokens + row.output_tokens + row.thoughts_tokens + row.tool_tokens;
const measured = { requests: (row) => row.requests, tokens, cost: (row) => row.cost };

/** Of how many gateways of a cluster it is, and why it may not be all. */
function Counted({ gateways }) {
  if (!gateways) return null;
  const n = count(gateways.counted);
  return html`<p class="soft" role="note">${gateways.whole ? t('usage.of', { n }) : t('usage.part', { n, why: gateways.why })}</p>`;
}

/** Since when there are sums, where the span begins before. */
function Kept({ since }) {
  return since ? html`<p class="soft" role="note">${t('usage.kept', { time: moment(Date.parse(since.time)) })}</p>` : null;
}

export default function Usage() {
  const { query } = route.value;
  const span = SPANS[query.get('span') || ''] ? query.get('span') : 'hour';
  const by = BY.includes(query.get('by') || '') ? query.get('by') : 'model';
  const measure = MEASURES.includes(query.get('of') || '') ? query.get('of') : 'requests';
  const [from, step, seconds] = SPANS[span];
  const path = `/api/usage?from=${from}&step=${step}&by=${by}`;
  const asked = useAsked(path, 15000);
  const rows = asked.data?.rows || [];
  const currency = rows[0]?.currency || 'USD';
  const of = measured[measure];
  const sums = new Map();
  for (const row of rows) {
    const name = row[by] || '';
    const sum = sums.get(name) || { requests: 0, answered: 0, refused: 0, failed: 0, input: 0, cached: 0, output: 0, tokens: 0, cost: 0, unpriced: 0 };
    sum.requests += row.requests;
    sum.answered += row.answered;
    sum.refused += row.refused_caller + row.refused_pool + row.refused_google;
    sum.failed += row.failed + row.broken;
    sum.input += row.input_tokens + row.tool_tokens;
    sum.cached += row.cached_tokens;
    sum.output += row.output_tokens + row.thoughts_tokens;
    sum.tokens += tokens(row);
    sum.cost += row.cost;
    sum.unpriced += row.unpriced;
    sums.set(name, sum);
  }
  const names = [...sums.keys()].sort((one, other) => sums.get(other)[measure] - sums.get(one)[measure]);
  const top = names.slice(0, SERIES);
  const has = new Set(rows.map((row) => Date.parse(row.from) / 1000));
  if (rows.length && seconds) {
    const newest = Math.max(...has);
    const all = span === 'hour' ? 24 : 30;
    for (let n = 0; n < all; n += 1) has.add(newest - n * seconds);
  }
  const at = [...has].sort((one, other) => one - other);
  const place = new Map(at.map((time, n) => [time, n]));
  const series = [...top, ...(names.length > SERIES ? [null] : [])].map((name) => ({ name: name === null ? t('others') : name || t('none'), values: at.map(() => 0) }));
  for (const row of rows) {
    const n = top.indexOf(row[by] || '');
    series[n < 0 ? series.length - 1 : n].values[place.get(Date.parse(row.from) / 1000)] += of(row);
  }
  const show = measure === 'cost' ? (n) => money(n, currency) : short;
  const isUnpriced = [...sums.values()].some((sum) => sum.unpriced);
  return html`<div class="head"><h1>${t('usage')}</h1><span class="push"><a class="button" href=${`${path}&format=csv`} download=${`usage-by-${by}.csv`}>CSV</a></span></div>
  <div class="filters"><${Choice} label=${t('span')} value=${span} onChoose=${(to) => refine({ span: to })} options=${Object.keys(SPANS).map((name) => [name, t(`span.${name}`)])} />
    <${Choice} label=${t('by')} value=${by} onChoose=${(to) => refine({ by: to })} options=${BY.map((name) => [name, t(name)])} />
    <${Choice} label=${t('measure')} value=${measure} onChoose=${(to) => refine({ of: to })} options=${MEASURES.map((name) => [name, t(`measure.${name}`)])} /></div>
  <${Failure} error=${asked.error} again=${asked.again} />
  <${Counted} gateways=${asked.data?.gateways} />
  <${Kept} since=${asked.data?.kept_since} />
  ${!asked.data ? (asked.error ? null : html`<${Busy} />`) : rows.length === 0 ? html`<section class="panel"><${Empty} title=${t('usage.none')}><p>${t('usage.none.how')}</p></${Empty}></section>` : html`<div class="stack">
    <section class="panel"><div class="body"><${Plot} key=${path} at=${at} series=${series} bars whole=${measure !== 'cost'} height=${240} show=${show} label=${`${t(`measure.${measure}`)} ${t('by')} ${t(by)}`} /></div></section>
    <section class="panel"><div class="scroll"><table class="table"><thead><tr><th>${t(by)}</th><th class="num">${t('measure.requests')}</th><th class="num">${t('answered')}</th><th class="num">${t('refused')}</th><th class="num">${t('failed')}</th><th class="num">${t('tokens.input')}</th><th class="num">${t('tokens.cached')}</th><th class="num">${t('tokens.output')}</th><th class="num">${t('measure.cost')}</th></tr></thead>
      <tbody>${names.slice(0, 200).map((name) => { const sum = sums.get(name); return html`<tr key=${name}><td class="clip">${name || html`<span class="soft">${t('none')}</span>`}</td><td class="num">${count(sum.requests)}</td><td class="num">${count(sum.answered)}</td><td class="num">${count(sum.refused)}</td><td class="num">${count(sum.failed)}</td><td class="num">${count(sum.input)}</td><td class="num">${count(sum.cached)}</td><td class="num">${count(sum.output)}</td><td class="num">${money(sum.cost, currency)}${sum.unpriced ? html` <span class="tag" title=${t('unpriced.why')}>+ ?</span>` : null}</td></tr>`; })}</tbody></table></div></section>
    <p class="soft">${t('list.price')} ${isUnpriced ? t('unpriced.why') : ''}${at.length ? ` ${span === 'hour' ? moment(at[0] * 1000) : day(at[0] * 1000)} – ${moment(Date.now())}.` : ''}</p></div>`}`;
}
