// The gateways that share the pool, as this one sees them: a part of the overview, there only where this one is one of several.
import { html } from '/assets/vendor/preact.js';
import { useAsked } from '/assets/api.js';
import { count, millis, span } from '/assets/format.js';
import { t, word } from '/assets/i18n.js';
import { Failure, State, Time } from '/assets/ui.js';

const EVERY_MS = 2000;

/** How one of them is. While this one is alone, it can only say so of itself. */
function stateOf(gateway, alone) {
  if (alone) return gateway.this ? 'alone' : 'unknown';
  return gateway.there ? 'up' : 'silent';
}

function heard(gateway) {
  if (gateway.this) return '–';
  return gateway.heard_ms_ago < 2000 ? t('just.now') : t('ago', { time: span(gateway.heard_ms_ago / 1000) });
}

function Agreement({ gateway }) {
  const parts = gateway.differs_in.map((part) => word('part', part)).join(t('comma'));
  return html`<span class=${`state ${parts ? 'warn' : 'good'}`}><i></i>${parts ? t('differ.in', { parts }) : t('agree')}</span>`;
}

function Row({ gateway, alone }) {
  return html`<tr>
    <td class="clip"><b>${gateway.name}</b>${gateway.this ? html` <span class="tag own">${t('this.one')}</span>` : null}</td>
    <td><${State} state=${stateOf(gateway, alone)} /></td><td>${gateway.version}</td><td><${Time} at=${gateway.since} full /></td>
    <td>${heard(gateway)}</td><td class="num">${gateway.behind_ms ? millis(gateway.behind_ms) : '–'}</td><td><${Agreement} gateway=${gateway} /></td>
  </tr>`;
}

/** Asks how the cluster is, as long as whoever calls is shown. */
export const useCluster = () => useAsked('/api/cluster', EVERY_MS);

/** Says that this gateway is alone, and what follows from it. */
export function Alone({ cluster }) {
  if (!cluster?.alone) return null;
  return html`<div class="banner warn" role="status"><span><b>${t('alone')}</b> ${t('alone.why', { why: cluster.alone })}</span></div>`;
}

/** @param {{asked: {data: any, error: Error|null, again: () => void}}} props */
export function Gateways({ asked }) {
  const cluster = asked.data;
  if (!cluster) return html`<${Failure} error=${asked.error} again=${asked.again} />`;
  const of = cluster.gateways.length;
  const there = cluster.gateways.filter((gateway) => gateway.there).length;
  const time = span(cluster.so_for_s);
  const summary = cluster.alone ? t('alone.for', { time }) : `${t('gateways.there', { n: count(there), of: count(of) })} · ${t('together.for', { time })}`;
  return html`<section class="panel clip gateways"><header><h2>${t('gateways')}</h2><span class="push">${summary}</span></header>
    <${Failure} error=${asked.error} again=${asked.again} />
    <div class="scroll" tabindex="0" role="region" aria-label=${t('gateways')}><table class="table">
      <thead><tr><th>${t('gateway')}</th><th>${t('state')}</th><th>${t('version')}</th><th>${t('up.since')}</th><th>${t('heard')}</th><th class="num">${t('behind')}</th><th>${t('settings')}</th></tr></thead>
      <tbody>${cluster.gateways.map((gateway) => html`<${Row} key=${gateway.name + gateway.since} gateway=${gateway} alone=${cluster.alone} />`)}</tbody></table></div>
    ${cluster.facts.untold ? html`<p class="soft untold">${t('untold', { n: count(cluster.facts.untold) })}</p>` : null}
  </section>`;
}
