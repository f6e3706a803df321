import type { Cell } from './diagram.ts';

/**
 * One row of a diagram, without its indentation (product grammar, `cell`):
 *
 *     cell  = step [ ("//" | "->") value ] | "..." | "[" remark "]"
 *     step  = [ lvalue "=" ] call [ "/" call ]... ";"? | "if (" condition ")" | "<" event ">"
 *
 * Arguments and left-hand sides are left out: nothing is compared with them. Null: it is no row.
 */
export function readCell(text: string): Cell | null {
  const { body, remark } = withoutRemark(text.trim());
  if (/^\.{2,}|^[{}]$/.test(body)) return { is: 'elision' };
  const { value, violation } = meaning(remark);
  if (body.startsWith('[')) return body.endsWith(']') ? { is: 'remark', violation } : null;
  if (body.startsWith('<')) return event(body, value, violation);
  const condition = /^(?:else\s+)?(?:if|while)\s*\((.*)\)\s*\{?$/.exec(body);
  if (condition) return conditional(condition[1] ?? '');
  return calls(body, value, violation);
}

/** Is something still open at its end, so that the next line belongs to it? */
export function isUnfinished(text: string): boolean {
  const { body } = withoutRemark(text);
  let depth = 0;
  for (const char of body) {
    if ('([{'.includes(char)) depth++;
    if (')]}'.includes(char)) depth--;
  }
  const isOpenEvent = body.startsWith('<') && !EVENT.test(body);
  return depth > 0 || isOpenEvent || /[=|&,+]$/.test(body.trimEnd());
}

/** An arrow in an event does not end it: `<TLB fill: 0x1000 -> X>`. */
const EVENT = /^<(?:[^>]|(?<=-)>)*>/;

/** What follows two spaces and `// ` or `-> `; inside an event both are part of its text. */
function withoutRemark(text: string): { readonly body: string; readonly remark: string | null } {
  const from = EVENT.exec(text)?.[0].length ?? 0;
  const found = /\s(?:\/\/|->)\s|\s\/\*|^\/\//.exec(text.slice(from));
  if (!found) return { body: text, remark: null };
  const at = from + found.index;
  const remark = text
    .slice(at)
    .trim()
    .replace(/^\/\*\s*|\s*\*\/$/g, '');
  return { body: text.slice(0, at).trim(), remark: remark.replace(/^\/\/\s*/, '') };
}

function meaning(remark: string | null): { value: string | null; violation: string | null } {
  const violation = remark === null ? null : /^!!!\s*([\w-]+)/.exec(remark)?.[1];
  if (violation) return { value: null, violation };
  return { value: remark === '' ? null : remark, violation: null };
}

function event(body: string, value: string | null, violation: string | null): Cell | null {
  if (!body.endsWith('>')) return null;
  const parts = body
    .slice(1, -1)
    .split(';')
    .map((part) => part.trim());
  return { is: 'event', parts: parts.filter((part) => part !== ''), value, violation };
}

const CALL = /([A-Za-z_]\w*)\s*\(/y;

/** The call that begins at `at`: its name, and where it ends. */
function callAt(text: string, at: number): { readonly name: string; readonly end: number } | null {
  CALL.lastIndex = at;
  const found = CALL.exec(text);
  if (!found) return null;
  let depth = 1;
  let end = CALL.lastIndex;
  for (; end < text.length && depth > 0; end++) {
    if ('([{'.includes(text[end] as string)) depth++;
    if (')]}'.includes(text[end] as string)) depth--;
  }
  return depth === 0 ? { name: found[1] as string, end } : null;
}

function calls(body: string, value: string | null, violation: string | null): Cell | null {
  const names: string[] = [];
  let rest = body
    .replace(/^return\s+/, '')
    .replace(/^[\w$.[\]>*&\s-]*?[\w\])]\s*(?:[-+*/%&|^]|<<|>>)?=(?!=)\s*/, '');
  for (;;) {
    const call = callAt(rest, 0);
    if (!call) return null;
    names.push(call.name);
    rest = rest.slice(call.end).trim();
    if (!rest.startsWith('/')) break;
    rest = rest.slice(1).trim();
  }
  if (rest !== '' && rest !== ';') return null;
  return { is: 'call', names, done: rest === ';', truth: null, value, violation };
}

/** What an `if` asks: a call, which then was true; or constants that a value must show. */
function conditional(condition: string): Cell | null {
  const negated = /^\s*!/.test(condition);
  const at = condition.search(/[A-Za-z_]\w*\s*\(/);
  const call = at < 0 ? null : callAt(condition, at);
  const outside = call ? condition.slice(0, at) + condition.slice(call.end) : condition;
  const constants = outside.match(/\b[A-Z][A-Z0-9_]{2,}\b/g) ?? [];
  if (!call) return constants.length === 0 ? null : { is: 'condition', constants };
  const isWhole = /^[\s!()]*$/.test(outside);
  return {
    is: 'call',
    names: [call.name],
    done: true,
    truth: isWhole ? !negated : null,
    value: constants[0] ?? null,
    violation: null,
  };
}
