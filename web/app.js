// The page's frame: who is logged in, which view is shown, and the switches. Views are loaded when they are first looked at.
import { html, render, useEffect, useState, effect } from '/assets/vendor/preact.js';
import { ask, listen, logIn, logOut, open, overview, stream, version } from '/assets/api.js';
import { count } from '/assets/format.js';
import { keep, lang, speak, t } from '/assets/i18n.js';
import { address, route } from '/assets/route.js';
import { choose, theme } from '/assets/theme.js';
import { Busy, Choice, Failure, Toast } from '/assets/ui.js';

/** The views, in the order of the menu, each with the path of its icon. */
const VIEWS = [
  ['overview', 'M3 13h8V3H3zM13 21h8V11h-8zM3 21h8v-4H3zM13 7h8V3h-8z'],
  ['keys', 'M15 7a4 4 0 1 1-3.5 6L8 16.500H5.500V19H3v-3l6.2-6.200A4 4 0 0 1 15 7zM16 10h.01'],
  ['callers', 'M16 20v-2a4 4 0 0 0-4-4H7a4 4 0 0 0-4 4v2M9.5 10a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M21 20v-2a4 4 0 0 0-3-3.900M16 3.200a3.5 3.5 0 0 1 0 6.7'],
  ['requests', 'M4 6h16M4 12h16M4 18h10'],
  ['usage', 'M4 20V10M10 20V4M16 20v-7M21 20H3'],
  ['errors', 'M12 3 2.5 20h19zM12 10v4M12 17h.01'],
  ['projects', 'M3 7a2 2 0 0 1 2-2h4l2 2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z'],
  ['models', 'M12 3l8 4.500v9L12 21l-8-4.500v-9zM12 12l8-4.500M12 12v9M12 12 4 7.5'],
  ['prices', 'M3 12V4h8l10 10-8 8zM7.500 8.500h.01'],
  ['playground', 'M5 3v18l15-9z'],
  ['settings', 'M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4'],
];
const NAMES = VIEWS.map(([name]) => name);
const loaded = new Map();

function Icon({ path }) {
  return html`<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d=${path} /></svg>`;
}

function Brand() {
  return html`<${Icon} path="M12 4v16M7 20h10M5 8h14M5 8l-3 6a3 3 0 0 0 6 0zM19 8l-3 6a3 3 0 0 0 6 0z" /><span>gemini-balance</span>`;
}

function Switches() {
  return html`<div class="switches">
    <${Choice} label=${t('theme')} value=${theme.value} onChoose=${choose} options=${[['auto', t('theme.auto')], ['light', t('theme.light')], ['dark', t('theme.dark')]]} />
    <${Choice} label=${t('language')} value=${lang.value} onChoose=${(to) => { keep('language', to); speak(to); }} options=${[['en', 'EN'], ['zh', '中文']]} />
  </div>`;
}

function Login() {
  const [token, setToken] = useState('');
  const [error, setError] = useState(/** @type {Error|null} */ (null));
  const [busy, setBusy] = useState(false);
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await logIn({ token });
    } catch (failed) {
      setError(/** @type {Error} */ (failed));
    }
    setBusy(false);
  };
  return html`<main class="login"><form onSubmit=${send}>
    <h1 class="brand"><${Brand} /></h1>
    <p class="lead">${t('login.lead')}</p>
    ${error ? html`<${Failure} error=${error} />` : null}
    <label class="field">${t('login.token')}<input type="password" autocomplete="current-password" required autofocus value=${token} onInput=${(event) => setToken(event.target.value)} /></label>
    <button class="main" disabled=${busy}>${t('login')}</button>
    <p class="soft">${t('login.where')} <code>ADMIN_TOKEN</code>, <code>admin.token</code></p>
    <${Switches} />
  </form></main>`;
}

function View({ name }) {
  const [, redraw] = useState(0);
  const [error, setError] = useState(/** @type {Error|null} */ (null));
  const load = () => import(`/assets/views/${name}.js`).then((it) => { loaded.set(name, it.default); setError(null); redraw((n) => n + 1); }, () => setError(new Error(t('no.gateway'))));
  useEffect(() => { if (!loaded.has(name)) load(); }, [name]);
  const Loaded = loaded.get(name);
  if (Loaded) return html`<${Loaded} />`;
  return error ? html`<${Failure} error=${error} again=${load} />` : html`<${Busy} />`;
}

function Frame() {
  const name = NAMES.includes(route.value.view) ? route.value.view : 'overview';
  const [shown, setShown] = useState(false);
  useEffect(() => { document.title = `${t(name)} · gemini-balance`; setShown(false); }, [name, lang.value]);
  const keys = overview.value?.keys;
  const counts = { keys: keys ? count(keys.total) : '' };
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById('main')?.focus(); }}>${t('skip')}</a>
  <div class="frame">
    <div class=${`side ${shown ? 'shown' : ''}`}>
      <div class="top"><a class="brand" href="#/overview"><${Brand} /></a>
        <button class="menu-button small" aria-expanded=${shown ? 'true' : 'false'} aria-controls="menu" onClick=${() => setShown(!shown)}>${t('menu')}</button></div>
      <nav id="menu" aria-label=${t('menu')}>${VIEWS.map(([view, path]) => html`<a key=${view} href=${address(view)} aria-current=${view === name ? 'page' : undefined}><${Icon} path=${path} />${t(view)}${counts[view] ? html`<span class="count">${counts[view]}</span>` : null}</a>`)}</nav>
      <div class="foot">
        <span class=${`live ${stream.value === 'live' ? '' : 'off'}`} role="status"><i></i>${t(stream.value === 'live' ? 'live' : 'live.off')}</span>
        <${Switches} />
        <span>${version.value}</span>
        <button class="small" onClick=${logOut}>${t('logout')}</button>
      </div>
    </div>
    <main id="main" tabindex="-1"><${View} name=${name} key=${name} /></main>
  </div><${Toast} />`;
}

function App() {
  if (open.value === null) return html`<${Busy} />`;
  return open.value ? html`<${Frame} />` : html`<${Login} />`;
}

async function begin() {
  if (lang.value !== 'en') await speak(lang.value);
  const code = /^#login=([0-9a-f]+)$/.exec(location.hash);
  if (code) {
    // It opens the page once, and need not stay in the address.
    history.replaceState(null, '', location.pathname);
    dispatchEvent(new HashChangeEvent('hashchange'));
    await logIn({ code: code[1] }).catch(() => {});
  }
  const state = await ask('/session').catch(() => ({ open: false, version: '' }));
  version.value = state.version;
  open.value = state.open;
}

effect(() => { open.value; listen(); });
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById('app')));
begin();
