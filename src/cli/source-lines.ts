import { existsSync, readFileSync } from 'node:fs';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SourceLines } from '../scenario/result.ts';

/** The folder of the running package: the parent of dist/ (and of src/, in tests). */
export const PACKAGE_ROOT: string = fileURLToPath(new URL('../..', import.meta.url));

/**
 * The file on disk that a stack position is about. The build strips types in place, so that line and column
 * of dist/x.js are those of src/x.ts: only the name has to change. `root` is the package's folder.
 */
export function sourceFile(file: string, root: string = PACKAGE_ROOT): string {
  // A loader may tell versions of one module apart by a query.
  const path = file.startsWith('file:') ? fileURLToPath(file.replace(/[?#].*$/, '')) : file;
  const inside = relative(resolve(root, 'dist'), path);
  if (inside.startsWith('..') || isAbsolute(inside) || !inside.endsWith('.js')) return path;
  const source = resolve(root, 'src', `${inside.slice(0, -2)}ts`);
  return existsSync(source) ? source : path;
}

/** How messages call a file: relative to the current folder if it is below it, or to the package. */
export function displayName(file: string, cwd: string = process.cwd()): string {
  const path = sourceFile(file);
  for (const base of [cwd, PACKAGE_ROOT]) {
    const name = relative(base, path);
    if (name !== '' && !name.startsWith('..') && !isAbsolute(name))
      return name.split(sep).join('/');
  }
  return path;
}

/** Reads source lines from disk, each file once. A file that cannot be read has no lines. */
export function sourceLines(): SourceLines {
  const files = new Map<string, readonly string[]>();
  const load = (file: string): readonly string[] => {
    const known = files.get(file);
    if (known) return known;
    let lines: readonly string[] = [];
    try {
      lines = readFileSync(sourceFile(file), 'utf8').split(/\r?\n/);
    } catch {
      // A step is then shown by its function's name.
    }
    files.set(file, lines);
    return lines;
  };
  return (file, line) => load(file)[line - 1] ?? null;
}
