import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fold } from '../report/wrap.ts';
import { ERROR_CODES } from './error-codes.ts';
import { sourceFiles } from './kernel-source.ts';
import { PACKAGE_ROOT } from './source-lines.ts';

/** The messages of each code, as the sources have them: `...` stands for what differs. */
function messages(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const file of sourceFiles(['src'])) {
    const text = readFileSync(join(PACKAGE_ROOT, file), 'utf8');
    for (const [, code = '', quoted = ''] of text.matchAll(MESSAGE)) {
      const list = found.get(code) ?? [];
      found.set(code, list);
      const message = quoted.slice(1, -1).replace(/\$\{(?:[^{}]|\{[^{}]*\})*\}/g, '...');
      if (!list.includes(message)) list.push(message);
    }
  }
  return found;
}

const MESSAGE = /'(E\d{3})',\s*(`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")/g;

function linesOf(code: string, width: number): string[] {
  const own = messages().get(code) ?? [];
  const exit = code === 'E303' ? 5 : code.startsWith('E2') ? 4 : code === 'E302' ? 3 : 2;
  return [
    fold(ERROR_CODES[code] ?? '', width),
    '',
    ...(own.length === 0 ? [] : ['Its messages:', '', ...own.map((text) => `    ${text}`), '']),
    fold(
      `Exit code ${exit}.  The message says where, why and what to do; --debug adds the stack.`,
      width,
    ),
  ];
}

/** Whose message is this? It may be a part of one, if that is long enough to mean something. */
function codeOf(typed: string): string | null {
  const text = typed.replace(/^error: /, '').trim();
  if (text.length < 8 || !/\s/.test(text)) return null;
  for (const [code, list] of messages()) {
    const fits = list.some((message) => {
      const pattern = message.split('...').map(quoted).join('.*');
      return new RegExp(`^${pattern}`).test(text) || message.includes(text);
    });
    if (fits && code in ERROR_CODES) return code;
  }
  return null;
}

function quoted(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

export const errorText = { linesOf, codeOf };
