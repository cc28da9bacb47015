// What the gateway runs with: each setting with its value, where that is from and the default; what a reload would change.
import { html, useState } from '/assets/vendor/preact.js';
import { ask, overview, useAsked } from '/assets/api.js';
import { count } from '/assets/format.js';
import { t, word } from '/assets/i18n.js';
import { address, refine, route } from '/assets/route.js';
import { Busy, Choice, Failure, State, Status, Time, doing } from '/assets/ui.js';

function Reload({ reload, again }) {
  const [plan, setPlan] = useState(/** @type {any} */ (null));
  const [error, setError] = useState(/** @type {Error|null} */ (null));
  const look = async () => { setError(null); try { setPlan(await ask('/api/reload?dry_run=1', { method: 'POST' })); } catch (failed) { setPlan(null); setError(/** @type {Error} */ (failed)); } };
  const apply = async () => { await doing(() => ask('/api/reload', { method: 'POST', headers: { 'if-match': `"${plan.revision}"` } }), t('reloaded')); setPlan(null); again(); };
  return html`<section class="panel"><header><h2>${t('configuration')}</h2><span class="tag">${t('revision', { n: reload.revision })}</span><span class="push"><button class="small" onClick=${look}>${t('dry.run')}</button></span></header><div class="body stack">
    ${error ? html`<${Failure} error=${error} />` : null}
    ${reload.error ? html`<div class="banner" role="alert">${t('reload.refused')} ${reload.error}</div>` : null}
    <p class="soft">${t('reload.last')} <${Time} at=${reload.last_success} full />. ${t('reload.counts', { applied: reload.applied, unchanged: reload.unchanged, refused: reload.refused })}</p>
    ${reload.restart_needed.length ? html`<div class="banner warn"><span>${t('restart.needed')} ${reload.restart_needed.join(', ')}</span></div>` : null}
    ${plan ? (plan.changes.length ? html`<div class="scroll"><table class="table"><thead><tr><th>${t('setting')}</th><th>${t('now')}</th><th>${t('would.be')}</th><th>${t('when')}</th></tr></thead><tbody>${plan.changes.map((one) => html`<tr key=${one.setting}><td class="mono">${one.setting}</td><td class="wrap mono">${one.from ?? '–'}</td><td class="wrap mono">${one.to ?? '–'}</td><td>${one.live ? t('at.once') : t('next.restart')}</td></tr>`)}</tbody></table></div>
      <div><button class="main" onClick=${apply}>${t('reload')}</button></div>` : html`<p role="status">${t('reload.nothing')}</p>`) : null}
  </div></section>`;
}

function Components() {
  const parts = Object.entries(overview.value?.components || {});
  return html`<section class="panel"><header><h2>${t('components')}</h2></header><div class="body"><ul class="notes">${parts.map(([name, it]) => html`<li key=${name}><span class="mono">${name}</span><${State} state=${it.state} />${it.reason ? html`<span class="soft">${it.reason}</span>` : null}<span class="push soft">${it.restarts ? t('restarts', { n: it.restarts }) : ''}</span></li>`)}</ul></div></section>`;
}

function Audit() {
  const asked = useAsked('/api/audit', 15000);
  const lines = asked.data?.lines || [];
  return html`<section class="panel"><header><h2>${t('audit')}</h2><span class="push mono">logs/audit.log</span></header>
    <div class="body"><${Failure} error=${asked.error} again=${asked.again} />${asked.data && lines.length === 0 ? html`<p class="soft">${t('audit.none')}</p>` : null}</div>
    ${lines.length ? html`<div class="scroll"><table class="table"><thead><tr><th>${t('time')}</th><th>${t('verb')}</th><th>${t('subject')}</th><th>${t('by')}</th><th>${t('address')}</th><th>${t('status')}</th></tr></thead>
      <tbody>${lines.slice(0, 30).map((one, n) => html`<tr key=${n}><td><${Time} at=${one.time} full /></td><td>${one.verb}</td><td class="wrap">${one.subject || html`<span class="soft">–</span>`}</td><td>${word('admitted', one.by)}</td><td class="mono">${one.address || '–'}</td><td><${Status} status=${one.status} /></td></tr>`)}</tbody></table></div>` : null}</section>`;
}

/** Keys, tokens and listeners are there or not; there is no default of them. */
const hasDefault = (it) => Boolean(it.default) || !(['***', 'on', 'off'].includes(it.value) && /^(keys|auth)\.|^admin(\.token|\.tls.*)?$|^metrics\.token$|^server\.tls/.test(it.name));

export default function Settings() {
  const asked = useAsked('/api/settings', 10000);
  const { query } = route.value;
  const [part, which] = [query.get('q') || '', query.get('which') || ''];
  const all = asked.data?.settings || [];
  const shownBy = which || (all.some((it) => it.source) ? 'changed' : 'all');
  const shown = all.filter((it) => it.name.includes(part.trim().toLowerCase()) && (shownBy === 'all' || part || it.source));
  return html`<div class="head"><h1>${t('settings')}</h1><span class="push"><a href=${address('prices')}>${t('prices')}</a></span></div><${Failure} error=${asked.error} again=${asked.again} />
  ${!asked.data ? (asked.error ? null : html`<${Busy} />`) : html`<div class="stack"><div class="grid2"><${Reload} reload=${asked.data.reload} again=${asked.again} /><${Components} /></div>
  <div class="filters"><input type="search" aria-label=${t('filter.settings')} placeholder=${t('filter.settings')} value=${part} onInput=${(event) => refine({ q: event.target.value })} /><${Choice} label=${t('which')} value=${shownBy} onChoose=${(one) => refine({ which: one })} options=${[['changed', t('settings.changed')], ['all', t('settings.all', { n: count(all.length) })]]} /></div>
  <section class="panel">${shown.length === 0 ? html`<p class="busy">${part ? t('nothing.fits') : t('settings.default')}</p>` : html`<div class="scroll"><table class="table"><thead><tr><th>${t('setting')}</th><th>${t('value')}</th><th>${t('source')}</th><th>${t('default')}</th><th>${t('change.holds')}</th></tr></thead>
    <tbody>${shown.map((it) => html`<tr key=${it.name}><td class="mono">${it.name}</td><td class="mono wrap">${it.value}</td><td class="wrap soft">${it.source || (hasDefault(it) ? t('default').toLowerCase() : '–')}</td><td class="mono wrap soft">${it.default ?? (hasDefault(it) ? it.value : '–')}</td><td class="soft">${it.live ? t('at.once') : t('next.restart')}</td></tr>`)}</tbody></table></div>`}</section><${Audit} /></div>`}`;
}
