// What plots are drawn with.
export { default } from 'uplot';
