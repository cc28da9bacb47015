// What the page draws with: Preact with hooks, signals, and htm bound to it.
import { h, render, Fragment } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState, useCallback } from 'preact/hooks';
import { signal, computed, effect, batch, useSignal, useComputed, useSignalEffect } from '@preact/signals';
import htm from 'htm';

export const html = htm.bind(h);
export { h, render, Fragment };
export { useEffect, useLayoutEffect, useMemo, useRef, useState, useCallback };
export { signal, computed, effect, batch, useSignal, useComputed, useSignalEffect };
