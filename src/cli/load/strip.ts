import { transformSync } from 'amaro';
import { SourceError, placeIn } from './source-error.ts';

/**
 * TypeScript to JavaScript with every line and column where it was: types become spaces.
 * Needs nothing of Node (amaro is WebAssembly), so a browser can load scenarios the same way.
 *
 * @throws SourceError
 */
export function stripTypes(source: string, file: string): string {
  try {
    return transformSync(source, { mode: 'strip-only', module: true, filename: file }).code;
  } catch (thrown) {
    if (!isSwcError(thrown)) throw thrown;
    const { startLine, startColumn, message } = thrown;
    const text = source.split('\n')[startLine - 1] ?? '';
    const column = unitsOf(text, startColumn) + 1;
    throw new SourceError(placeIn(file, source, startLine, column), message);
  }
}

interface SwcError {
  readonly message: string;
  /** From 1. */
  readonly startLine: number;
  /** From 0, in swc's display columns. */
  readonly startColumn: number;
}

/** amaro throws plain objects, not errors. */
function isSwcError(thrown: unknown): thrown is SwcError {
  if (typeof thrown !== 'object' || thrown === null) return false;
  const { message, startLine, startColumn } = thrown as Record<string, unknown>;
  return (
    typeof message === 'string' && typeof startLine === 'number' && typeof startColumn === 'number'
  );
}

/**
 * swc counts columns in characters, but a tab as four and a character outside the BMP as three
 * (amaro 1.2.1, observed; test/load has the cases). Everyone else counts UTF-16 units.
 */
function unitsOf(text: string, displayColumn: number): number {
  let units = 0;
  let display = 0;
  for (const char of text) {
    if (display >= displayColumn) break;
    display += char === '\t' ? 4 : char.length === 2 ? 3 : 1;
    units += char.length;
  }
  return units;
}
