import type { Site } from './errors.ts';

/**
 * The positions of a raw `Error().stack`, innermost first. Frames without a file (natives) are left out.
 * V8's format is `at name (file:line:column)` or `at file:line:column`; both browsers' workers and Node
 * print it so.
 */
export function parseStack(stack: string): Site[] {
  const sites: Site[] = [];
  for (const row of stack.split('\n')) {
    const match =
      /(?:\(|at (?:async )?)((?:file:\/\/|\/|[A-Za-z]:\\|https?:|blob:)[^()]*):(\d+):(\d+)\)?$/.exec(
        row.trimEnd(),
      );
    if (!match) continue;
    const [, file, line, column] = match;
    if (file === undefined || line === undefined || column === undefined) continue;
    const name = /^\s*at (?:async )?([^\s(]+) \(/.exec(row)?.[1];
    sites.push({ file, line: Number(line), column: Number(column), function: name });
  }
  return sites;
}
