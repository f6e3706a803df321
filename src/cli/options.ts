import { GracewalkError } from '../base/errors.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import type { ColorMode } from './term.ts';

/** Narrower than this not even one column of a diagram fits. */
export const LEAST_WIDTH = 48;
/** checkpatch's limit for commit messages. */
export const USUAL_WIDTH = 75;
const MOST_WIDTH = 1000;

export type Layout = 'columns' | 'tagged';
export type Detail = 'auto' | 'full' | 'min';
/** The form of the result on stdout. */
export type Form = 'text' | 'json' | 'json-lines' | 'ktap' | 'quiet';

/** Forms of a run for other programs, and the two that other options have too. */
export type RunForm = 'tagged' | 'json' | 'html' | 'svg' | 'perfetto';

export const RUN_FORMS: readonly RunForm[] = ['tagged', 'json', 'html', 'svg', 'perfetto'];
export const LAYOUTS: readonly Layout[] = ['columns', 'tagged'];
export const DETAILS: readonly Detail[] = ['full', 'auto', 'min'];
export const COLOR_MODES: readonly ColorMode[] = ['auto', 'always', 'never'];
export const MODELS: readonly MemoryModel[] = ['sc', 'tso'];

export function parseWidth(text: string): number {
  const width = /^\d+$/.test(text) ? Number(text) : NaN;
  if (width >= LEAST_WIDTH && width <= MOST_WIDTH) return width;
  throw new GracewalkError('E107', `bad --width '${text}'`, {
    notes: [`a width is a whole number of characters from ${LEAST_WIDTH} to ${MOST_WIDTH}`],
    help: `without it, ${USUAL_WIDTH}: that fits a commit message`,
  });
}

/** A parser of an option that takes a whole number. */
export function whole(option: string, least: number, most: number): (text: string) => number {
  return (text) => {
    const number = /^\d+(e\d+)?$/.test(text) ? Number(text) : NaN;
    if (number >= least && number <= most) return number;
    throw new GracewalkError('E107', `bad ${option} '${text}'`, {
      help: `${option} takes a whole number from ${least} to ${most}`,
    });
  };
}

/** What `--json`, `--ktap` and `--quiet` come to; commander refuses two of them. */
export interface FormOptions {
  readonly json?: JsonForm;
  readonly ktap?: boolean;
  readonly quiet?: boolean;
}

export type JsonForm = 'document' | 'lines';

export function formOf({ json, ktap, quiet }: FormOptions): Form {
  if (json !== undefined) return json === 'lines' ? 'json-lines' : 'json';
  if (ktap) return 'ktap';
  return quiet ? 'quiet' : 'text';
}

/**
 * Commander would take the word behind `--json` for its value: a file, most of the time. Only `--json=lines`
 * has one.
 */
export function withJsonForm(argv: readonly string[]): string[] {
  return argv.map((argument) => (argument === '--json' ? '--json=document' : argument));
}

/** One document, on many lines or on one. */
export function jsonText(document: object, form: JsonForm): string {
  return `${JSON.stringify(document, null, form === 'lines' ? 0 : 2)}\n`;
}

export function parseJsonForm(text: string): JsonForm {
  if (text === 'document' || text === 'lines') return text;
  throw new GracewalkError('E107', `bad --json=${text}`, {
    help: '--json is one document, --json=lines one object per line as things happen',
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

export function parseWidthOfAddresses(text: string): number {
  const width = /^\d+$/.test(text) ? Number(text) : NaN;
  if (width >= 32 && width <= 64) return width;
  throw new GracewalkError('E107', `bad --maxphyaddr '${text}'`, {
    notes: ['the width of physical addresses is a whole number from 32 to 64'],
    help: "on x86 it is in /proc/cpuinfo: 'address sizes : 46 bits physical'",
  });
}
