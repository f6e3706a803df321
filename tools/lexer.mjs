/**
 * Just enough of a TypeScript lexer to find module specifiers and free identifiers without mistaking
 * comments, strings, templates and regular expressions for code. It works on source with or without
 * its types, which is why neither es-module-lexer nor a parser would do for both of its users
 * (build.mjs rewrites the specifiers of stripped code, check-imports.mjs also wants type imports).
 *
 * It assumes code that compiles. The one guess is whether `/` divides: after a value it does.
 */

/** @typedef {{ kind: 'word' | 'string' | 'punct' | 'template', text: string, start: number, end: number }} Token */
/** @typedef {{ kind: 'static' | 'dynamic' | 'url', specifier: string, start: number, end: number, typeOnly: boolean }} ModuleUse */

/** Keywords after which an operand begins, so that `/` starts a regular expression. */
const BEFORE_OPERAND = new Set(
  'await case delete do else in instanceof new of return throw typeof void yield'.split(' '),
);

const WORD = /[\p{ID_Start}$_#][\p{ID_Continue}$\u200c\u200d]*/uy;
const NUMBER = /\d[\w.]*/y;
const SPACE = /(?:\s|\/\/[^\n]*|\/\*[^]*?\*\/)+/y;
const STRING = /'(?:\\[^]|[^'\\])*'|"(?:\\[^]|[^"\\])*"/y;
const REGEXP = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/\w*/y;

/** @param {string} source @returns {Token[]} */
export function tokenize(source) {
  /** @type {Token[]} */
  const tokens = [];
  /** For each open `{`, whether it is the `${` of a template. @type {boolean[]} */
  const braces = [];
  let at = source.startsWith('#!') ? source.indexOf('\n') : 0;
  if (at < 0) return tokens;

  const match = (/** @type {RegExp} */ pattern) => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  };
  const push = (/** @type {Token['kind']} */ kind, /** @type {string} */ text) => {
    tokens.push({ kind, text, start: at, end: at + text.length });
    at += text.length;
  };
  const templateChunk = () => {
    let end = at + 1;
    while (end < source.length && source[end] !== '`' && !source.startsWith('${', end)) {
      end += source[end] === '\\' ? 2 : 1;
    }
    const opens = source[end] === '$';
    push('template', source.slice(at, end + (opens ? 2 : 1)));
    if (opens) braces.push(true);
  };

  while (at < source.length) {
    const space = match(SPACE);
    if (space !== undefined) {
      at += space.length;
      continue;
    }
    const char = source[at] ?? '';
    const word = match(WORD) ?? match(NUMBER);
    const string = match(STRING);
    if (word !== undefined) push('word', word);
    else if (string !== undefined) push('string', string);
    else if (char === '`') templateChunk();
    else if (char === '}' && braces.pop() === true) templateChunk();
    else if (char === '/' && !endsValue(tokens.at(-1))) push('punct', match(REGEXP) ?? char);
    else {
      if (char === '{') braces.push(false);
      push('punct', char);
    }
  }
  return tokens;
}

/** @param {Token | undefined} token */
function endsValue(token) {
  if (token === undefined) return false;
  if (token.kind === 'punct') return token.text === ')' || token.text === ']' || token.text === '}';
  if (token.kind === 'template') return !token.text.endsWith('${');
  return token.kind === 'string' || !BEFORE_OPERAND.has(token.text);
}

/**
 * Every import, re-export, `import('...')` and `new URL('...', import.meta.url)` with a literal
 * specifier. `start` and `end` are those of the specifier, without its quotes.
 *
 * @param {string} source @param {Token[]} [tokens] @returns {ModuleUse[]}
 */
export function moduleUses(source, tokens = tokenize(source)) {
  /** @type {ModuleUse[]} */
  const uses = [];
  const textAt = (/** @type {number} */ i) => tokens[i]?.text;
  tokens.forEach((token, i) => {
    if (token.kind !== 'string') return;
    const use = (/** @type {ModuleUse['kind']} */ kind, typeOnly = false) => {
      const specifier = token.text.slice(1, -1);
      uses.push({ kind, specifier, start: token.start + 1, end: token.end - 1, typeOnly });
    };
    const before = textAt(i - 1);
    if (before === 'from') {
      const first = clauseStart(tokens, i - 1);
      if (first === undefined) return;
      // `import type from './x.ts'` and `import type, { a } from './x.ts'` import something named type.
      const typed = textAt(first + 1) === 'type' && first + 1 !== i - 2;
      use('static', typed && textAt(first + 2) !== ',');
    } else if (before === 'import' && textAt(i - 2) !== '.') use('static');
    else if (before === '(' && textAt(i - 2) === 'import' && textAt(i - 3) !== '.') use('dynamic');
    else if (before === '(' && textAt(i - 2) === 'URL' && textAt(i - 3) === 'new') {
      const base = tokens.slice(i + 1, i + 7).map((t) => t.text);
      if (base.join('') === ',import.meta.url') use('url');
    }
  });
  return uses;
}

/**
 * The index of the `import` or `export` that the `from` at `index` belongs to, or undefined if that
 * `from` is some other word. Between the two there are only names, braces, commas and stars.
 *
 * @param {Token[]} tokens @param {number} index
 */
function clauseStart(tokens, index) {
  for (let i = index - 1; i >= 0; i--) {
    const { kind, text } = tokens[i] ?? { kind: 'punct', text: ';' };
    if (kind === 'word' && (text === 'import' || text === 'export')) return i;
    if (kind === 'word' || kind === 'string' || '{},*'.includes(text)) continue;
    return undefined;
  }
  return undefined;
}

/** @param {string} source @param {number} offset @returns {number} the 1-based line */
export function lineAt(source, offset) {
  let line = 1;
  for (let i = source.indexOf('\n'); i >= 0 && i < offset; i = source.indexOf('\n', i + 1)) line++;
  return line;
}
