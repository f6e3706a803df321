import type { ErrorDetails, Site } from '../base/errors.ts';
import type { SourceLines } from './result.ts';

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
  if (details.site) lines.push(...place(details.site, details, source, shorten));
  else if (details.variant !== undefined) lines.push(`  --> variant '${details.variant}'`);
  for (const note of details.notes ?? []) lines.push(`note: ${note}`);
  if (details.help !== undefined) lines.push(`help: ${details.help}`);
  if (details.verdict !== undefined) lines.push(`verdict: ${details.verdict}`);
  return `${withCode(lines, code).join('\n')}\n`;
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
  const length = Math.max(
    1,
    /^[\w$.]+(?:\([^()]*\))?/.exec(text.slice(site.column - 1))?.[0].length ?? 1,
  );
  const label = details.label === undefined ? '' : ` ${details.label}`;
  return [head, `${site.line} | ${text}`, `${gutter} | ${before}${'^'.repeat(length)}${label}`];
}

const CODE_COLUMN = 67;

/** The code stands at the right end of the last line, or below it. */
function withCode(lines: readonly string[], code: string | null): string[] {
  if (code === null) return [...lines];
  const last = lines.at(-1) ?? '';
  const tag = `[${code}]`;
  if (last.length <= CODE_COLUMN - 1)
    return [...lines.slice(0, -1), `${last.padEnd(CODE_COLUMN)} ${tag}`];
  return [...lines, `${' '.repeat(CODE_COLUMN)} ${tag}`];
}
