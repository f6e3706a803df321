import type { Site } from '../base/errors.ts';
import { argumentsText, cText } from './c-text.ts';
import type { LeafCall, SourceLines } from '../scenario/result.ts';
import { afterTypeArguments, closing, tokenize, type Token } from './tokens.ts';

/**
 * The one rule by which a step's text comes from its source line:
 *
 * The call of the step's function nearest at or after the step's position is copied, as far as its
 * parentheses reach (at most 8 lines), written as C: no `yield*`, no types, `->` for members, `&` before
 * arguments that the kernel passes by address; functions and records among them go, an array is its elements. If all that the source does with the result is to store it,
 * the left-hand side is copied too. Where there is no such call (the function was patched or has another
 * name there), the text is `name();`.
 *
 *     const pmd = yield* pmdp_get_lockless(pmdp);     ->  pmd = pmdp_get_lockless(pmdp);
 *     if (yield* try_cmpxchg(src.preempted, state, state | KVM_VCPU_FLUSH_TLB))
 *                            ->  try_cmpxchg(&src->preempted, &state, state | KVM_VCPU_FLUSH_TLB);
 */
export interface StatementPlace {
  readonly op: string;
  readonly leaf: LeafCall | null;
  readonly site: Site | null;
}

const MOST_LINES = 8;

export function statementText(place: StatementPlace, source: SourceLines): string {
  const name = place.leaf?.name ?? place.op;
  const { site } = place;
  const text = site && copied(name, place.leaf?.address ?? [], site, source);
  return text ?? `${name}();`;
}

function copied(
  name: string,
  address: readonly number[],
  site: Site,
  source: SourceLines,
): string | null {
  const lines = linesFrom(site, source);
  if (lines.length === 0) return null;
  const tokens = tokenize(lines);
  const call = findCall(tokens, name, site.column);
  if (!call) return null;
  const args = argumentsText(tokens.slice(call.open + 1, call.close), address);
  // A formatter breaks a long assignment behind its `=`.
  const before = tokens.slice(0, call.name);
  const previous =
    tokens[call.name - 1]?.line === 0 || call.name === 0 ? source(site.file, site.line - 1) : null;
  const onlyYield = before.every(({ text }) => text === 'yield' || text === '*' || text === '(');
  const all =
    onlyYield && previous?.trimEnd().endsWith('=') ? [...tokenize([previous]), ...before] : before;
  return `${target(all, tokens.slice(call.close + 1))}${name}(${args});`;
}

function linesFrom(site: Site, source: SourceLines): string[] {
  const lines: string[] = [];
  for (let at = 0; at < MOST_LINES; at++) {
    const line = source(site.file, site.line + at);
    if (line === null) break;
    lines.push(line);
  }
  return lines;
}

interface Call {
  readonly name: number;
  readonly open: number;
  readonly close: number;
}

/** Calls on the site's own line go first, there those at or after its column. */
function findCall(tokens: readonly Token[], name: string, column: number): Call | null {
  const calls: Call[] = [];
  tokens.forEach((token, at) => {
    if (token.kind !== 'word' || token.text !== name) return;
    if (tokens[at - 1]?.text === 'function' || tokens[at - 2]?.text === 'function') return;
    const open = tokens[at + 1]?.text === '(' ? at + 1 : afterTypeArguments(tokens, at + 1);
    const close = open < 0 ? -1 : closing(tokens, open);
    if (close >= 0) calls.push({ name: at, open, close });
  });
  const place = (call: Call): Token => tokens[call.name] as Token;
  return (
    calls.find((call) => place(call).line === 0 && place(call).column >= column) ??
    calls.find((call) => place(call).line === 0) ??
    calls.find((call) => isArgumentOfFirstLine(tokens, call)) ??
    null
  );
}

/** On a later line it is the same statement only if nothing ended before it. */
function isArgumentOfFirstLine(tokens: readonly Token[], call: Call): boolean {
  return !tokens
    .slice(0, call.name)
    .some(({ text }) => text === ';' || text === '{' || text === '}');
}

/** `pmd = ` if the value of the call goes there and nowhere else. */
function target(before: readonly Token[], after: readonly Token[]): string {
  let at = before.length - 1;
  let parens = 0;
  for (; at >= 0; at--) {
    const text = before[at]?.text;
    if (text === '(') parens++;
    else if (!(text === '*' && before[at - 1]?.text === 'yield') && text !== 'yield') break;
  }
  const operator = before[at]?.text ?? '';
  if (!/^(?:[-+*/%&|^]|<<|>>)?=$/.test(operator) || !isWholeValue(after, parens)) return '';
  const left = lvalue(before.slice(0, at));
  return left === '' ? '' : `${left} ${operator} `;
}

/** Behind the call come only the parentheses that were opened for it, casts, and the end of the expression. */
function isWholeValue(after: readonly Token[], parens: number): boolean {
  let open = parens;
  for (const token of after) {
    const { text } = token;
    if (text === '!') continue;
    if (text === ')' && open > 0) open--;
    else
      return (
        open === 0 &&
        (/^(?:[;,)\]}:]|as|satisfies)$/.test(text) || (token.startsLine && token.kind === 'word'))
      );
  }
  return open === 0;
}

/** The longest run of names, members and indices that ends the tokens; without a declared type. */
function lvalue(before: readonly Token[]): string {
  const declared = before.findLastIndex(({ text }) => /^(?:const|let|var)$/.test(text));
  if (declared >= 0) {
    const name = before[declared + 1];
    const next = before[declared + 2]?.text;
    if (name?.kind === 'word' && (next === undefined || next === ':')) return name.text;
    // `const a = f(), b = yield* g()`: b is the word before the operator; a pattern has no C form.
    return next === '=' && before.at(-2)?.text === ',' ? (before.at(-1)?.text ?? '') : '';
  }
  let first = before.length;
  for (let at = before.length - 1; at >= 0; at--) {
    const { text, kind } = before[at] as Token;
    if (kind !== 'word' && kind !== 'number' && !/^(?:\.|\?\.|[[\]])$/.test(text)) break;
    if (kind === 'word' && before[at + 1]?.kind === 'word') break;
    first = at;
  }
  return cText(before.slice(first));
}
