// The import: another gateway's files, what would become of them, and their keys and tokens into this one.
import { html, useState } from '/assets/vendor/preact.js';
import { ask } from '/assets/api.js';
import { count } from '/assets/format.js';
import { t, word } from '/assets/i18n.js';
import { Dialog, Failure, say } from '/assets/ui.js';

const VENDORS = ['snailyp', 'gpt-load', 'litellm', 'keys'];
/** How many keys Google is asked about at once. */
const CHECKED = 100;
const SHOWN = 200;

/** A file as it is sent: as text, or where it is none in base64. @param {File} file */
async function read(file) {
  const bytes = await file.arrayBuffer();
  try {
    return { name: file.name, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    const url = await new Promise((done, failed) => {
      const reader = new FileReader();
      reader.onload = () => done(/** @type {string} */ (reader.result));
      reader.onerror = () => failed(new Error(t('import.unreadable', { name: file.name })));
      reader.readAsDataURL(file);
    });
    return { name: file.name, base64: url.slice(url.indexOf(',') + 1) };
  }
}

function Notes({ title, lines, more = 0 }) {
  if (!lines.length) return null;
  return html`<section><h3>${title}</h3><ul class="plain">${lines.slice(0, SHOWN).map((line, n) => html`<li key=${n}>${line}</li>`)}</ul>
    ${lines.length > SHOWN || more ? html`<p class="soft">${t('and.more', { n: Math.max(0, lines.length - SHOWN) + more })}</p>` : null}</section>`;
}

/** What is taken: keys and tokens by the place where they stand. */
function Taken({ preview, verdicts }) {
  const { keys, tokens } = preview;
  const state = (one) => (one.here ? word('paste', 'here') : one.usual ? word('paste', 'new') : word('paste', 'unusual'));
  return html`${keys.length ? html`<section><h3>${t('import.keys', { n: count(keys.length) })}</h3><div class="scroll"><table class="table"><thead><tr><th>${t('import.place')}</th><th>${t('fingerprint')}</th><th>${t('state')}</th>${verdicts.size ? html`<th>${t('check')}</th>` : null}</tr></thead>
    <tbody>${keys.slice(0, SHOWN).map((one, n) => html`<tr key=${n}><td class="wrap">${one.place}</td><td class="mono">${one.label || one.fingerprint}</td><td>${state(one)}${one.enabled ? '' : html` <span class="tag">${word('state', 'disabled')}</span>`}</td>
      ${verdicts.size ? html`<td class="wrap">${verdicts.has(one.fingerprint) ? html`${word('verdict', verdicts.get(one.fingerprint).verdict)} <span class="soft">${verdicts.get(one.fingerprint).why || ''}</span>` : ''}</td>` : null}</tr>`)}</tbody></table></div>
    ${keys.length > SHOWN ? html`<p class="soft">${t('and.more', { n: keys.length - SHOWN })}</p>` : null}</section>` : null}
  ${tokens.length ? html`<section><h3>${t('import.tokens', { n: count(tokens.length) })}</h3><ul class="notes">${tokens.slice(0, SHOWN).map((one, n) => html`<li key=${n}><span>${one.place}</span><span class="soft">${t('signs', { n: one.length })}</span>${one.short ? html`<span class="tag warn">${t('import.short')}</span>` : null}</li>`)}</ul></section>` : null}`;
}

/** What belongs into the configuration, and is only shown. */
function NotTaken({ settings, limits }) {
  if (!settings.length && !limits.length) return null;
  const limit = (one) => ['rpm', 'tpm', 'rpd'].filter((name) => one[name] !== null && one[name] !== undefined).map((name) => `${name} = ${one[name]}`).join(', ');
  return html`<section><h3>${t('import.settings')}</h3><p class="soft">${t('import.settings.how')}</p>
    <div class="scroll"><table class="table"><thead><tr><th>${t('setting')}</th><th>${t('value')}</th><th>${t('import.there')}</th></tr></thead>
      <tbody>${settings.map((one) => html`<tr key=${one.setting}><td class="mono">${one.setting}</td><td class="mono wrap">${one.value}</td><td class="mono">${one.origin}</td></tr>`)}
      ${limits.map((one, n) => html`<tr key=${`limit${n}`}><td class="mono">[[limits]] ${one.model || ''}</td><td class="mono wrap">${limit(one)}</td><td></td></tr>`)}</tbody></table></div></section>`;
}

function Result({ done, onClose }) {
  return html`<div class="banner good" role="status"><span>${t('import.done', { keys: done.added.length, tokens: done.tokens.length })}</span></div>
    ${done.disabled.length ? html`<div class="banner warn" role="status">${t('import.disabled', { n: done.disabled.length, of: done.added.length })}</div>` : null}
    ${done.kept ? null : html`<div class="banner warn">${t('import.not.kept')}</div>`}
    <${Notes} title=${t('keys')} lines=${done.added} /><${Notes} title=${t('callers')} lines=${done.tokens} />
    <div class="actions"><button class="main" onClick=${onClose}>${t('done')}</button></div>`;
}

export function Import({ onClose, again }) {
  const [files, setFiles] = useState(/** @type {File[]} */ ([]));
  const [text, setText] = useState('');
  const [from, setFrom] = useState('');
  const [seen, setSeen] = useState(/** @type {any} */ (null));
  const [done, setDone] = useState(/** @type {any} */ (null));
  const [error, setError] = useState(/** @type {Error|null} */ (null));
  const [busy, setBusy] = useState(false);
  const send = async (more) => {
    setBusy(true);
    setError(null);
    try {
      const documents = await Promise.all(files.map(read));
      if (text.trim()) documents.push({ name: t('import.pasted'), text });
      return await ask('/api/import', { method: 'POST', body: { files: documents, ...(from ? { from } : {}), ...more } });
    } catch (failed) { setError(/** @type {Error} */ (failed)); return null; } finally { setBusy(false); }
  };
  const preview = async (check) => { const answer = await send({ dry_run: true, ...(check ? { check } : {}) }); if (answer) setSeen(answer); };
  const apply = async () => {
    const answer = await send({});
    if (!answer) return;
    setDone(answer);
    // Neither is needed any more, and both may hold secrets.
    setFiles([]);
    setText('');
    say(t('import.done', { keys: answer.added.length, tokens: answer.tokens.length }));
    again();
  };
  const it = seen?.preview;
  const fresh = it ? it.keys.filter((one) => !one.here).length : 0;
  const tokens = it ? it.tokens.filter((one) => !one.short).length : 0;
  const verdicts = new Map((seen?.checks || []).map((one) => [one.fingerprint, one]));
  return html`<${Dialog} wide title=${t('import')} onClose=${onClose}>
    ${error ? html`<${Failure} error=${error} />` : null}
    ${done ? html`<${Result} done=${done} onClose=${onClose} />`
    : it ? html`<div class="stack">
      <${Notes} title=${t('import.sources')} lines=${it.sources} />
      ${it.keys.length || it.tokens.length ? null : html`<p class="soft">${t('import.nothing')}</p>`}
      <${Taken} preview=${it} verdicts=${verdicts} />
      ${it.repeated ? html`<p class="soft">${t('import.repeated', { n: it.repeated })}</p>` : null}
      <${Notes} title=${t('import.warnings')} lines=${it.warnings} />
      <${Notes} title=${t('import.left')} lines=${it.left} more=${it.unnamed} />
      <${NotTaken} ...${it.not_taken_here} />
      ${fresh > CHECKED ? html`<p class="soft">${t('import.check.many', { n: CHECKED })}</p>` : null}
      <div class="actions"><button onClick=${() => setSeen(null)}>${t('back')}</button><button disabled=${busy || !fresh || fresh > CHECKED} onClick=${() => preview(true)}>${t('check.google')}</button><button class="main" disabled=${busy || !(fresh || tokens)} onClick=${apply}>${t('import.apply', { keys: fresh, tokens })}</button></div></div>`
    : html`<p class="soft">${t('import.what')}</p>
      <label class="field">${t('import.files')}<input type="file" multiple autofocus onChange=${(event) => setFiles([...event.target.files])} /></label>
      <label class="field">${t('import.paste')}<textarea spellcheck=${false} autocomplete="off" value=${text} onInput=${(event) => setText(event.target.value)}></textarea></label>
      <label class="field">${t('import.from')}<select value=${from} onChange=${(event) => setFrom(event.target.value)}><option value="">${t('import.tell')}</option>${VENDORS.map((one) => html`<option key=${one} value=${one}>${word('vendor', one)}</option>`)}</select></label>
      <p class="soft">${t('paste.safe')}</p>
      <div class="actions"><button onClick=${onClose}>${t('cancel')}</button><button class="main" disabled=${busy || !(files.length || text.trim())} onClick=${() => preview(false)}>${t('preview')}</button></div>`}
  </${Dialog}>`;
}
