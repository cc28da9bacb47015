// The models of the last day: what became of their requests, what they fail of, and which are left alone now.
import { html } from '/assets/vendor/preact.js';
import { useAsked } from '/assets/api.js';
import { count, millis, percent, span } from '/assets/format.js';
import { t } from '/assets/i18n.js';
import { address } from '/assets/route.js';
import { Busy, Empty, Failure } from '/assets/ui.js';

export default function Models() {
  const asked = useAsked('/api/models', 5000);
  const list = (asked.data?.models || []).slice().sort((one, other) => other.requests - one.requests);
  return html`<div class="head"><h1>${t('models')}</h1><span class="lead">${t('last.day')}</span></div>
  <${Failure} error=${asked.error} again=${asked.again} />
  <section class="panel">${!asked.data ? (asked.error ? null : html`<${Busy} />`) : list.length === 0 ? html`<${Empty} title=${t('usage.none')}><p>${t('usage.none.how')}</p></${Empty}>`
    : html`<div class="scroll"><table class="table"><thead><tr><th>${t('model')}</th><th>${t('state')}</th><th class="num">${t('measure.requests')}</th><th class="num">${t('success')}</th><th class="num">${t('first.byte')}</th><th class="num">p95</th><th class="num">${t('retries')}</th><th>${t('faults')}</th><th>${t('price')}</th></tr></thead>
      <tbody>${list.map((it) => html`<tr key=${it.model}><td class="clip">${it.model ? html`<a href=${address('requests', { model: it.model })}>${it.model}</a>` : html`<span class="soft">${t('no.model')}</span>`}</td>
        <td>${!it.model ? html`<span class="soft">–</span>` : it.down_for_ms !== null && it.down_for_ms !== undefined ? html`<span class="state bad"><i></i>${t('model.down')}</span> <span class="soft">${t('tried.in', { time: span(it.down_for_ms / 1000) })}</span>` : html`<span class="state good"><i></i>${t('model.up')}</span>`}</td>
        <td class="num">${count(it.requests)}</td><td class="num">${it.requests ? percent(it.answered / it.requests) : '–'}</td><td class="num">${millis(it.first_byte_p50_ms)}</td><td class="num">${millis(it.first_byte_p95_ms)}</td><td class="num">${count(it.retries)}</td>
        <td>${Object.entries(it.faults || {}).slice(0, 4).map(([fault, n]) => html`<a key=${fault} class="tag" href=${address('requests', { model: it.model, fault })}>${fault} ${n}</a> `)}</td>
        <td>${it.unpriced ? html`<a class="state warn" href=${address('prices', { q: it.model })}><i></i>${t('unpriced')}</a>` : html`<a class="soft" href=${address('prices')}>${t('priced')}</a>`}</td></tr>`)}</tbody></table></div>`}</section>`;
}
