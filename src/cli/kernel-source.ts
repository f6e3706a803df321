import { readFileSync, readdirSync } from 'node:fs';
import { join, sep } from 'node:path';
import { PACKAGE_ROOT } from './source-lines.ts';

/**
 * What the sources say about a function. They ship with the package, because a function's own comment and its
 * dozen lines are the best explanation of what is modelled.
 */
export interface SourceEntry {
  readonly name: string;
  /** Relative to the package: `src/kernel/mm/gup.ts`. */
  readonly file: string;
  readonly line: number;
  /** The comment above it, as paragraphs. */
  readonly says: readonly string[];
  /** The comment at the head of its file: guarantee, mechanism, assumptions, kernel version. */
  readonly protocol: readonly string[];
  readonly source: readonly string[];
}

const FOLDERS = ['src/kernel', 'src/machine', 'src/scenario', 'src/sanitizers'];

export function sourceFiles(folders: readonly string[] = FOLDERS): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(PACKAGE_ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => [folder, ...file.split(sep)].join('/'))
      .sort(),
  );
}

/** The exported function called `name`, or null. */
export function sourceOfFunction(name: string): SourceEntry | null {
  const declared = new RegExp(
    `^export (?:const ${name}\\b[^=]*= (?:fn|leaf)\\(|function\\*? ${name}[(<]|const ${name}: Sanitizer\\b)`,
  );
  for (const file of sourceFiles()) {
    const lines = linesOf(file);
    const at = lines.findIndex((line) => declared.test(line));
    if (at < 0) continue;
    const head = firstComment(lines);
    const own = commentAbove(lines, at);
    return {
      name,
      file,
      line: at + 1,
      says: own === head ? [] : paragraphs(own),
      protocol: paragraphs(head),
      source: declaration(lines, at),
    };
  }
  return null;
}

function linesOf(file: string): string[] {
  return readFileSync(join(PACKAGE_ROOT, file), 'utf8').split(/\r?\n/);
}

/** The comment that ends in the line before, as its lines without stars; '' if there is none. */
function commentAbove(lines: readonly string[], at: number): string {
  if (lines[at - 1]?.trimEnd().endsWith('*/') !== true) return '';
  let first = at - 1;
  while (first > 0 && !lines[first]?.startsWith('/**')) first--;
  return bare(lines.slice(first, at));
}

/** The first comment of a file, if it stands before the first declaration or above it. */
function firstComment(lines: readonly string[]): string {
  const first = lines.findIndex((line) => line.startsWith('/**'));
  const end = lines.findIndex((line, at) => at >= first && line.includes('*/'));
  return first < 0 ? '' : bare(lines.slice(first, end + 1));
}

function bare(comment: readonly string[]): string {
  return comment
    .map((line) =>
      line
        .replace(/^\/\*\*? ?|\*\/$/g, '')
        .replace(/^ ?\* ?/, '')
        .trimEnd(),
    )
    .join('\n')
    .trim();
}

/** Lines joined to paragraphs; items of a list are some, and so is `Guarantee: ...`; what is indented stays lines. */
function paragraphs(text: string): string[] {
  if (text === '') return [];
  return text.split(/\n\s*\n/).flatMap((part) => {
    if (/^ {4}/m.test(part)) return part.split('\n');
    const starts = /\n(?=- |\d+\. |[A-Z][a-z]+(?: [a-z]+)?: )/;
    return part.split(starts).map((each) => each.replace(/\n\s*/g, ' '));
  });
}

/** To the line at column 0 that closes it. */
function declaration(lines: readonly string[], at: number): string[] {
  const end = lines.findIndex((line, n) => n >= at && /^(?:\}|[)}\]]+;)$|^\}.*\);$/.test(line));
  return lines.slice(at, end < 0 ? at + 1 : end + 1);
}
