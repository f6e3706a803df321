/** Enough of TypeScript's lexical grammar to copy a call out of a source line. */
export interface Token {
  readonly kind: 'word' | 'number' | 'string' | 'punctuation';
  readonly text: string;
  /** White space or a comment stands before it. */
  readonly spaced: boolean;
  /** It is the first on its line (0: the first line that was read). */
  readonly startsLine: boolean;
  readonly line: number;
  /** 1-based, on its line. */
  readonly column: number;
}

const PATTERNS: readonly (readonly [Token['kind'] | 'space', RegExp])[] = [
  ['space', /\s+|\/\/.*|\/\*(?:.*?\*\/|.*)/y],
  ['word', /[A-Za-z_$][\w$]*/y],
  ['number', /0[xX][\da-fA-F_]+n?|\d[\d_]*(?:\.\d+)?n?/y],
  ['string', /'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?|`(?:[^`\\]|\\.)*`?/y],
  [
    'punctuation',
    /===|!==|\*\*=?|=>|==|!=|<=|>=|&&=?|\|\|=?|\?\?=?|<<=?|\?\.|\.\.\.|\+\+|--|[-+*/%&|^]=|[^]/y,
  ],
];

/** Splits lines into tokens; comments and white space are left out. */
export function tokenize(lines: readonly string[]): Token[] {
  return lines.flatMap((line, at) => tokenizeLine(line, at));
}

function tokenizeLine(text: string, line: number): Token[] {
  const tokens: Token[] = [];
  let spaced = false;
  for (let at = 0; at < text.length;) {
    const [kind, length] = match(text, at);
    if (kind !== 'space') {
      tokens.push({
        kind,
        text: text.slice(at, at + length),
        spaced: spaced || tokens.length === 0,
        startsLine: tokens.length === 0,
        line,
        column: at + 1,
      });
    }
    spaced = kind === 'space';
    at += length;
  }
  return tokens;
}

function match(text: string, at: number): readonly [Token['kind'] | 'space', number] {
  for (const [kind, pattern] of PATTERNS) {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found && found[0].length > 0) return [kind, found[0].length];
  }
  return ['punctuation', 1];
}

const CLOSING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

export function isOpening(token: Token | undefined): boolean {
  return token !== undefined && token.kind === 'punctuation' && token.text in CLOSING;
}

export function isClosing(token: Token | undefined): boolean {
  return token !== undefined && token.kind === 'punctuation' && /^[)\]}]$/.test(token.text);
}

/** Index of the bracket that closes the one at `open`, or -1. */
export function closing(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let at = open; at < tokens.length; at++) {
    if (isOpening(tokens[at])) depth++;
    if (isClosing(tokens[at]) && --depth === 0) return at;
  }
  return -1;
}

/** Index behind the type arguments that open at `open` (`<Page>`), or -1 if `<` is an operator there. */
export function afterTypeArguments(tokens: readonly Token[], open: number): number {
  if (tokens[open]?.text !== '<' || tokens[open].spaced) return -1;
  let depth = 0;
  for (let at = open; at < tokens.length; at++) {
    const { kind, text } = tokens[at] as Token;
    if (text === '<') depth++;
    else if (text === '>' && --depth === 0) return tokens[at + 1]?.text === '(' ? at + 1 : -1;
    else if (kind === 'punctuation' && !/^[,.[\]|&]$/.test(text)) return -1;
  }
  return -1;
}
