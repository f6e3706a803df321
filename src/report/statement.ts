import type { LeafCall, SourceLines } from './result.ts';
import type { Site } from '../base/errors.ts';

/**
 * The one rule by which a step's text comes from its source line: the call of the function that executes the
 * step, with what it is assigned to, in C's notation.
 *
 *     const pmd = yield* pmdp_get_lockless(pmdp);         pmd = pmdp_get_lockless(pmdp);
 *     if (yield* try_cmpxchg(src.preempted, s, s | 2))    try_cmpxchg(&src->preempted, &s, s | 2);
 *
 * Handles are pointers, so `a.b` is `a->b`; arguments that C passes by address get `&`; type annotations,
 * inner `yield*` and arguments that only gracewalk has (functions, records) go; arrays are argument lists.
 * Where the source has no such call (an alias, a patch) the function's name stands alone.
 */
export function statementOf(
  site: Site | null,
  leaf: LeafCall | null,
  op: string,
  source: SourceLines,
): string {
  const name = leaf?.name ?? op;
  const call = site && leaf ? findCall(site, name, source) : null;
  if (!call) return `${name}();`;
  const list = splitArguments(call.inside).flatMap(asArguments);
  const args = list.map((text, at) => byAddress(asC(text), leaf?.address.includes(at) ?? false));
  return `${call.target}${name}(${args.join(', ')});`;
}

interface Call {
  /** `pmd = `, or nothing. */
  readonly target: string;
  /** What stands between the parentheses. */
  readonly inside: string;
}

const MOST_LINES = 8;

function findCall(site: Site, name: string, source: SourceLines): Call | null {
  const first = source(site.file, site.line);
  if (first === null) return null;
  const start = nearestCall(first, name, site.column - 1);
  if (start < 0) return null;
  let text = first;
  const open = start + name.length;
  for (let line = 1; line <= MOST_LINES; line++) {
    const close = closingParenthesis(text, open);
    if (close >= 0) {
      return { target: targetOf(first.slice(0, start)), inside: text.slice(open + 1, close) };
    }
    text += ` ${(source(site.file, site.line + line) ?? '').trim()}`;
  }
  return null;
}

/** The call of `name` nearest to the column: the position may be that of the call or of its `yield*`. */
function nearestCall(text: string, name: string, column: number): number {
  let best = -1;
  for (let at = text.indexOf(`${name}(`); at >= 0; at = text.indexOf(`${name}(`, at + 1)) {
    if (/[\w$.]/.test(text[at - 1] ?? ' ')) continue;
    if (best < 0 || Math.abs(at - column) < Math.abs(best - column)) best = at;
  }
  return best;
}

/** `pmd = ` if the call's value is assigned directly. */
function targetOf(before: string): string {
  const match = /(?:^|[\s({;])([A-Za-z_$][\w$.]*)(?:\s*:[^=]*)?\s*=\s*yield\*\s*$/.exec(before);
  return match?.[1] ? `${asC(match[1])} = ` : '';
}

const OPENING = '([{';
const CLOSING = ')]}';

function closingParenthesis(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    const char = text[at] as string;
    if (OPENING.includes(char)) depth++;
    else if (CLOSING.includes(char) && --depth === 0) return at;
  }
  return -1;
}

function splitArguments(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string;
    if (OPENING.includes(char)) depth++;
    else if (CLOSING.includes(char)) depth--;
    else if (char === ',' && depth === 0) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  parts.push(text.slice(start));
  return parts.map((part) => part.trim().replace(/\s+/g, ' ')).filter((part) => part !== '');
}

function asArguments(text: string): string[] {
  if (text.startsWith('{') || text.includes('=>')) return []; // nothing that C would pass
  if (text.startsWith('[') && text.endsWith(']'))
    return splitArguments(text.slice(1, -1)).flatMap(asArguments);
  return [text];
}

function asC(text: string): string {
  return text
    .replace(/\byield\*\s*/g, '')
    .replace(/(?:\s+as\s+[\w.<>[\]]+)+/g, '')
    .replace(/([\w)\]])!(?!=)/g, '$1')
    .replace(/\bnull\b/g, 'NULL')
    .replace(/===/g, '==')
    .replace(/!==/g, '!=')
    .replace(/([\w)\]])\.(?=[a-z_])/g, '$1->');
}

function byAddress(text: string, wanted: boolean): string {
  return wanted && /^[A-Za-z_][\w]*(?:->\w+|\[\w+\])*$/.test(text) ? `&${text}` : text;
}
