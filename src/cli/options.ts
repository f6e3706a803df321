import { GracewalkError } from '../base/errors.ts';
import type { ColorMode } from './term.ts';

/** Narrower than this not even one column of a diagram fits. */
export const LEAST_WIDTH = 48;
/** checkpatch's limit for commit messages. */
export const USUAL_WIDTH = 75;
const MOST_WIDTH = 1000;

export type Layout = 'columns' | 'tagged';
export type Detail = 'auto' | 'full';

export const LAYOUTS: readonly [Layout, ...Layout[]] = ['columns', 'tagged'];
export const DETAILS: readonly [Detail, ...Detail[]] = ['auto', 'full'];
export const COLOR_MODES: readonly [ColorMode, ...ColorMode[]] = ['auto', 'always', 'never'];

export function parseWidth(text: string): number {
  const width = /^\d+$/.test(text) ? Number(text) : NaN;
  if (width >= LEAST_WIDTH && width <= MOST_WIDTH) return width;
  throw new GracewalkError('E107', `bad --width '${text}'`, {
    notes: [`a width is a whole number of characters from ${LEAST_WIDTH} to ${MOST_WIDTH}`],
    help: `without it, ${USUAL_WIDTH}: that fits a commit message`,
  });
}

/** Seconds between two progress lines, or `off`. */
export function parseProgress(text: string): number | 'off' {
  if (text === 'off') return 'off';
  const match = /^(\d+(?:\.\d+)?)s?$/.exec(text);
  const seconds = match ? Number(match[1]) : NaN;
  if (seconds >= 0.5 && seconds <= 86_400) return seconds;
  throw new GracewalkError('E107', `bad --progress '${text}'`, {
    notes: ['progress takes the seconds between two lines, at least 0.5, or off'],
    help: 'for example --progress 2',
  });
}

/** A parser of an option that takes one of a few words. */
export function oneOf<T extends string>(
  option: string,
  allowed: readonly T[],
): (text: string) => T {
  return (text) => {
    const found = allowed.find((word) => word === text);
    if (found !== undefined) return found;
    throw new GracewalkError('E107', `bad ${option} '${text}'`, {
      help: `${option} is ${allowed.slice(0, -1).join(', ')} or ${allowed.at(-1)}`,
    });
  };
}
