// The keys by project: how many are in which state, and each project's quotas with the time at which Google's day ends.
import { html, useState } from '/assets/vendor/preact.js';
import { ask, useAsked } from '/assets/api.js';
import { count, span } from '/assets/format.js';
import { t } from '/assets/i18n.js';
import { address } from '/assets/route.js';
import { Busy, Empty, Failure, State, Time, doing } from '/assets/ui.js';
import { LimitGauges } from '/assets/views/keys.js';

export default function Projects() {
  const [part, setPart] = useState('');
  const path = `/api/projects?limit=50${part ? `&q=${encodeURIComponent(part)}` : ''}`;
  const asked = useAsked(path, 4000);
  const [more, setMore] = useState(/** @type {{path: string, list: any[], next: string|null}|null} */ (null));
  const rest = more?.path === path ? more : null;
  const list = [...(asked.data?.projects || []), ...(rest?.list || [])];
  const next = rest ? rest.next : asked.data?.next;
  const load = async () => {
    const answer = await doing(() => ask(`${path}&cursor=${encodeURIComponent(next)}`), '');
    if (answer) setMore({ path, list: [...(rest?.list || []), ...answer.projects], next: answer.next });
  };
  const resets = asked.data?.day_resets;
  return html`<div class="head"><h1>${t('projects')}</h1><span class="lead">${asked.data ? count(asked.data.matched) : ''}</span></div>
  <div class="filters"><input type="search" aria-label=${t('filter.projects')} placeholder=${t('filter.projects')} value=${part} onInput=${(event) => setPart(event.target.value)} />
    ${resets ? html`<span class="soft">${t('day.resets')} <${Time} at=${resets} full /> (${t('in.time', { time: span((Date.parse(resets) - Date.now()) / 1000) })})</span>` : null}</div>
  <${Failure} error=${asked.error} again=${asked.again} />
  ${!asked.data && !asked.error ? html`<${Busy} />` : null}
  ${asked.data && list.length === 0 ? html`<section class="panel"><${Empty} title=${part ? t('nothing.fits') : t('keys.none')}><p>${part ? t('nothing.fits.how') : t('keys.none.how')}</p></${Empty}></section>` : null}
  <div class="stack">${list.map((it) => html`<section class="panel" key=${it.project || it.key}><header><h2><a href=${address('keys', { q: it.project || it.key })}>${it.project || it.key}</a></h2>${it.number ? html`<span class="tag">${it.number}</span>` : null}${Object.entries(it.states).map(([state, n]) => html`<span key=${state}><${State} state=${state} /> ${n}</span>`)}
    <span class="push">${t('served')} ${count(it.served)} · ${t('faults')} ${count(it.faults)} · ${t('in.flight')} ${it.in_flight}</span></header><div class="body"><${LimitGauges} limits=${it.limits} /></div></section>`)}</div>
  ${next ? html`<p class="busy"><button onClick=${load}>${t('more')}</button></p>` : null}
  <p class="soft">${t('limits.learnt')}</p>`;
}
