// What the page uses of its libraries, for the check of types: the libraries' own types would have to be bundled as well.
export const html: (strings: TemplateStringsArray, ...values: any[]) => any;
export const h: any;
export const render: (node: any, place: HTMLElement) => void;
export const Fragment: any;
export function useEffect(work: () => void | (() => void), inputs?: any[]): void;
export function useLayoutEffect(work: () => void | (() => void), inputs?: any[]): void;
export function useMemo<T>(make: () => T, inputs?: any[]): T;
export function useRef<T>(first: T): { current: T };
export function useState<T>(first: T | (() => T)): [T, (next: T | ((before: T) => T)) => void];
export function useCallback<T>(work: T, inputs?: any[]): T;
export function signal<T>(first: T): { value: T };
export function computed<T>(make: () => T): { readonly value: T };
export function effect(work: () => void): () => void;
export function batch<T>(work: () => T): T;
export const useSignal: typeof signal;
export const useComputed: typeof computed;
export function useSignalEffect(work: () => void): void;
