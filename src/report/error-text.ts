import type { ErrorDetails, Quoted, Site } from '../base/errors.ts';
import type { SourceLines } from '../scenario/result.ts';
import { closing, tokenize } from './tokens.ts';
import { fold } from './wrap.ts';

/** What an error needs to be printed: a `GracewalkError`, or what came of one in another thread. */
export interface PrintableError {
  readonly code: string | null;
  readonly what: string;
  readonly details: ErrorDetails;
}

/** What went wrong, where, why, and what to do: the one form of every message. */
export function renderError(
  error: PrintableError,
  source: SourceLines,
  shorten: (file: string) => string,
): string {
  const { what, code, details } = error;
  const lines = [`error: ${what}`];
  if (details.quoted) lines.push(...quotation(details.quoted));
  else if (details.site) lines.push(...place(details.site, details, source, shorten));
  else if (details.variant !== undefined) lines.push(`  --> variant '${details.variant}'`);
  for (const note of details.notes ?? []) lines.push(...labelled('note', note));
  if (details.help !== undefined) lines.push(...labelled('help', details.help));
  if (details.verdict !== undefined) lines.push(...labelled('verdict', details.verdict));
  return `${withCode(lines, code).join('\n')}\n`;
}

const WIDTH = 75;

/** `help: ...`, folded with its further lines below the text. */
function labelled(label: string, text: string): string[] {
  const [first = '', ...more] = fold(text, WIDTH - label.length - 2).split('\n');
  return [`${label}: ${first}`, ...more.map((line) => ' '.repeat(label.length + 2) + line)];
}

function place(
  site: Site,
  details: ErrorDetails,
  source: SourceLines,
  shorten: (file: string) => string,
): string[] {
  const variant = details.variant === undefined ? '' : `, variant '${details.variant}'`;
  const head = `  --> ${shorten(site.file)}:${site.line}:${site.column}${variant}`;
  const text = source(site.file, site.line);
  if (text === null) return [head];
  const gutter = ' '.repeat(String(site.line).length);
  const before = text.slice(0, site.column - 1).replace(/[^\t]/g, ' ');
  const length = markedLength(text.slice(site.column - 1));
  const label = details.label === undefined ? '' : ` ${details.label}`;
  return [head, `${site.line} | ${text}`, `${gutter} | ${before}${'^'.repeat(length)}${label}`];
}

/** A line of a text that is not on disk any more. */
function quotation({ where, line, at, length }: Quoted): string[] {
  return [`  --> ${where}`, line, `${' '.repeat(at - 1)}${'^'.repeat(length)}`];
}

/** A call is marked as far as its parentheses reach on this line, anything else as far as its name. */
function markedLength(text: string): number {
  const name = /^(?:yield\* *)?[\w$.]+/.exec(text)?.[0].length ?? 1;
  const tokens = text[name] === '(' ? tokenize([text.slice(name)]) : [];
  const close = tokens[closing(tokens, 0)];
  return close ? name + close.column : name;
}

const CODE_COLUMN = 67;

/** The code stands at the right end of the last line, or below it. */
function withCode(lines: readonly string[], code: string | null): string[] {
  if (code === null) return [...lines];
  const last = lines.at(-1) ?? '';
  const tag = `[${code}]`;
  if (last.length <= CODE_COLUMN)
    return [...lines.slice(0, -1), `${last.padEnd(CODE_COLUMN)} ${tag}`];
  return [...lines, `${' '.repeat(CODE_COLUMN)} ${tag}`];
}
