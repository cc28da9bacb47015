// Light or dark: the system's, or what was chosen.
import { signal, effect } from '/assets/vendor/preact.js';
import { keep, read } from '/assets/i18n.js';

export const theme = signal(read('theme') || 'auto');

effect(() => {
  if (theme.value === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});

/** @param {string} to */
export function choose(to) {
  keep('theme', to);
  theme.value = to;
}
