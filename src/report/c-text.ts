import { afterTypeArguments, closing, isClosing, isOpening, type Token } from './tokens.ts';

/** Tokens of TypeScript written as C, on one line. */
export function cText(tokens: readonly Token[]): string {
  return join(unwrapped(withoutTypes(tokens)));
}

/**
 * The arguments of a call. `address`: positions of those to print with `&`. Functions and records are left
 * out, as C would pass nothing of the kind; the elements of an array are arguments of their own.
 */
export function argumentsText(tokens: readonly Token[], address: readonly number[]): string {
  return split(withoutTypes(tokens))
    .flatMap((argument, at) => elements(argument).map((each) => [unwrapped(each), at] as const))
    .map(
      ([each, at]) => `${address.includes(at) && needsAddress(each, at) ? '&' : ''}${join(each)}`,
    )
    .join(', ');
}

function elements(argument: readonly Token[]): (readonly Token[])[] {
  const first = argument[0]?.text;
  if (first === '{' || first === 'function' || isArrow(argument)) return [];
  if (first !== '[' || closing(argument, 0) !== argument.length - 1) return [argument];
  return split(argument.slice(1, -1)).flatMap(elements);
}

function isArrow(argument: readonly Token[]): boolean {
  const behind = argument[0]?.text === '(' ? closing(argument, 0) + 1 : 1;
  return argument[behind]?.text === '=>' || (argument[behind]?.text === ':' && behind > 1);
}

/** Leaves out `yield*`, casts, non-null marks, type arguments, and records behind other arguments. */
function withoutTypes(tokens: readonly Token[]): Token[] {
  const kept: Token[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at] as Token;
    const previous = kept.at(-1);
    if (token.text === 'yield') {
      if (tokens[at + 1]?.text === '*') at++;
    } else if (token.text === 'Math' && tokens[at + 1]?.text === '.') {
      at++; // min(), max(): the kernel has them by these names
    } else if (token.text === ',' && tokens[at + 1]?.text === '{') {
      at = closing(tokens, at + 1); // options are a record, as C has none
    } else if (isOperand(previous) && (token.text === 'as' || token.text === 'satisfies')) {
      at = typeEnd(tokens, at + 1) - 1;
    } else if (isOperand(previous) && token.text === '!' && !token.spaced) {
      continue;
    } else if (previous?.kind === 'word' && afterTypeArguments(tokens, at) >= 0) {
      at = afterTypeArguments(tokens, at) - 1;
    } else kept.push(token);
  }
  return kept;
}

function isOperand(token: Token | undefined): boolean {
  return token !== undefined && (token.kind !== 'punctuation' || /^[)\]]$/.test(token.text));
}

/** Where the type of a cast ends: at a bracket that closes, a comma, or an operator that types do not have. */
function typeEnd(tokens: readonly Token[], from: number): number {
  let angles = 0;
  for (let at = from; at < tokens.length; at++) {
    const { kind, text } = tokens[at] as Token;
    if (text === '<') angles++;
    else if (text === '>' && angles > 0) angles--;
    else if (isOpening(tokens[at])) at = Math.max(at, closing(tokens, at));
    else if (angles === 0 && kind === 'punctuation' && !/^[.|&]$/.test(text)) return at;
    else if (text === 'as' || text === 'satisfies') return typeEnd(tokens, at + 1);
  }
  return tokens.length;
}

/** At top-level commas; a trailing comma makes no argument. */
function split(tokens: readonly Token[]): Token[][] {
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (isOpening(token)) depth++;
    if (isClosing(token)) depth--;
    if (depth === 0 && token.text === ',') parts.push([]);
    else parts.at(-1)?.push(token);
  }
  if (parts.at(-1)?.length === 0) parts.pop();
  return parts;
}

/** `(f(x)).member` without the parentheses that only `yield*` or a cast needed. */
function unwrapped(tokens: readonly Token[]): Token[] {
  const drop = new Set<number>();
  tokens.forEach((token, at) => {
    if (token.text !== '(' || isOperand(tokens[at - 1])) return;
    const close = closing(tokens, at);
    if (close < 0 || tokens[close + 1]?.text === '=>') return;
    if (!isPostfix(tokens.slice(at + 1, close))) return;
    drop.add(at).add(close);
  });
  return tokens.filter((_token, at) => !drop.has(at));
}

/** A name, member, call or index: what binds tighter than any operator. */
function isPostfix(tokens: readonly Token[]): boolean {
  if (tokens.length === 0) return false;
  let depth = 0;
  return tokens.every(({ kind, text }, at) => {
    const inside = depth > 0;
    if (isOpening(tokens[at])) depth++;
    if (isClosing(tokens[at])) depth--;
    if (inside) return true;
    if (kind !== 'punctuation') return at === 0 || tokens[at - 1]?.kind === 'punctuation';
    return /^(?:\.|\?\.|[([])$/.test(text) && (at > 0 || text === '(');
  });
}

/**
 * Does `&` belong before an argument that is passed by address? A first argument that is a bare name holds
 * the address already (`spin_lock(ptl)`), as a later one does not (`try_cmpxchg(&word, &old, new)`); and C
 * has no address of a call's result or of a number.
 */
function needsAddress(tokens: readonly Token[], at: number): boolean {
  if (at === 0 && tokens.length === 1) return false;
  const last = tokens.at(-1);
  return isPostfix(tokens) && (last?.kind === 'word' || last?.text === ']');
}

const AS_C: Readonly<Record<string, string>> = {
  '===': '==',
  '!==': '!=',
  null: 'NULL',
  undefined: 'NULL',
  '??': '?:', // as GCC has it
};

function join(tokens: readonly Token[]): string {
  let text = '';
  tokens.forEach((token, at) => {
    const previous = tokens[at - 1];
    const tight =
      at === 0 ||
      (previous !== undefined && /^[([]$/.test(previous.text)) ||
      (token.kind === 'punctuation' && /^[)\],;.]$/.test(token.text));
    text += `${token.spaced && !tight ? ' ' : ''}${written(token, previous, tokens[at - 2])}`;
  });
  return text.replace(/[,;] *(?=[)\]])/g, '');
}

function written(token: Token, previous: Token | undefined, beforeThat: Token | undefined): string {
  if (token.text === '.' || token.text === '?.') {
    // Handles are pointers, and constants (`PageFlags.LOCKED`) are not handles; an element of an array is.
    const isPointer =
      previous?.text === ')' ||
      (previous?.kind === 'word' && (/^[a-z_]/.test(previous.text) || beforeThat?.text === '.'));
    return isPointer ? '->' : '.';
  }
  if (token.kind === 'number') return token.text.replaceAll('_', '').replace(/n$/, '');
  if (token.kind === 'string') return `"${token.text.slice(1, -1).replaceAll('"', "'")}"`;
  return (previous?.text !== '.' && AS_C[token.text]) || token.text;
}
