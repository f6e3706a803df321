import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import type { Diagram, Place, Row } from './diagram.ts';
import { isUnfinished, readCell } from './read-cell.ts';

/**
 * Finds a diagram in a text and reads it: a header of actors with a column each, or rows tagged with their
 * actor. What stands before it and behind it may be anything, a whole mail; quotes (`> `) and the
 * indentation that git adds are taken off.
 *
 * `actors`: how the scenario calls its columns.
 */
export function readDiagram(text: string, actors: readonly string[], name: string): Diagram {
  const unquoted = dedented(text.split(/\r?\n/)).map(withoutQuotes);
  const plain = dedented(unquoted).map((line) => expandTabs(line).trimEnd());
  const tagged = readTagged(plain, actors, name);
  const { rows, end } = tagged ?? readColumns(plain, actors, name);
  if (rows.length === 0) throw lostColumns(plain, name);
  const begins = (line: string): boolean =>
    tagged ? TAG.test(line) : headerWords(line, actors) !== null;
  const next = plain.findIndex((line, at) => at >= end && begins(line));
  return {
    columns: [...new Set(rows.map(({ column }) => column))],
    rows: rows.map((row, at) => ({ ...row, n: at + 1 })),
    next: next < 0 ? null : next + 1,
  };
}

type Numberless = Omit<Row, 'n'>;

function withoutQuotes(line: string): string {
  return line.replace(/^(?:\s{0,3}[>|])+ ?/, '');
}

/** Without the spaces that every line begins with: `git log` puts four before each. */
function dedented(lines: readonly string[]): string[] {
  const indents = lines.filter((line) => line.trim() !== '').map((line) => line.search(/[^ ]/));
  const common = indents.length === 0 ? 0 : Math.min(...indents);
  return lines.map((line) => line.slice(common));
}

/** Tabs as the author's editor had them: to the next multiple of eight. */
function expandTabs(line: string): string {
  let out = '';
  for (const char of line) out += char === '\t' ? ' '.repeat(8 - (out.length % 8)) : char;
  return out;
}

const TAG = /^\s*(?:\d+\s+)?\[([A-Za-z][\w/]*)\]\s?(.*)$/;

/**
 * The line at which tagged rows stop being those of one diagram: their numbers begin anew, or, of rows without
 * numbers, there is a paragraph between them.
 */
function endOfTagged(lines: readonly string[]): number {
  let last = 0;
  let paragraph = false;
  for (const [at, line] of lines.entries()) {
    const number = TAG.test(line) ? /^\s*(\d+)/.exec(line)?.[1] : undefined;
    if (TAG.test(line)) {
      const isNext = number === undefined ? last > 0 && paragraph : Number(number) <= last;
      if (isNext) return at;
      last = number === undefined ? 1 : Number(number);
      paragraph = false;
    } else if (isParagraph(lines, at)) paragraph = true;
  }
  return lines.length;
}

/** A line of prose that begins behind a blank one. */
function isParagraph(lines: readonly string[], at: number): boolean {
  const line = lines[at] as string;
  return lines[at - 1]?.trim() === '' && /[A-Za-z]/.test(line) && readCell(line.trim()) === null;
}

/** Rows like `  3 [vCPU0]   pmd = pmdp_get_lockless(pmdp);  // -> pteA`. Null if there are none. */
function readTagged(
  lines: readonly string[],
  actors: readonly string[],
  name: string,
): { readonly rows: Numberless[]; readonly end: number } | null {
  const tags = lines.map((line) => TAG.exec(line)?.[1] ?? '').filter((tag) => tag !== '');
  if (!tags.some((tag) => actors.includes(tag) || /^v?CPU\d+$/.test(tag))) return null;
  const rows: Numberless[] = [];
  const end = endOfTagged(lines);
  let open: OpenRow | null = null;
  for (const [at, source] of lines.slice(0, end).entries()) {
    const tag = TAG.exec(source);
    if (tag) {
      open = close(open, rows, name);
      const column = actorOf(tag[1] as string, actors, { line: at + 1, at: 1, source }, name);
      const start = source.length - (tag[2] as string).trimStart().length;
      open = { column, place: { line: at + 1, at: start + 1, source }, text: tag[2] as string };
    } else if (open && source.trim() !== '' && continues(open, source)) {
      open = { column: open.column, place: open.place, text: joined(open.text, source) };
    } else open = close(open, rows, name);
  }
  close(open, rows, name);
  return { rows, end };
}

interface OpenRow {
  readonly column: string;
  readonly place: Place;
  readonly text: string;
}

/** Does a line below a row go on with it? A comment does, and what an open bracket waits for. */
function continues({ text, place }: OpenRow, source: string): boolean {
  const indent = source.search(/\S/);
  if (indent === 0) return false;
  if (isUnfinished(text.trim())) return true;
  return source.trimStart().startsWith('// ') && indent > 0 && place.line > 0;
}

/** A comment over two lines has `// ` before both. */
function joined(text: string, source: string): string {
  const more = source.trim();
  const isComment = / \/\/ |^\/\/ /.test(text) && more.startsWith('// ');
  return `${text.trimEnd()}${more.startsWith('// ') && !isComment ? '  ' : ' '}${isComment ? more.slice(3) : more}`;
}

/** The row is complete: reads it. */
function close(open: OpenRow | null, rows: Numberless[], name: string): null {
  if (open === null || open.text.trim() === '') return null;
  const text = open.text.trim();
  const cell = readCell(text);
  if (cell === null) throw notARow(open, text, name);
  rows.push({ column: open.column, place: open.place, text, cell });
  return null;
}

interface Header {
  readonly line: number;
  readonly columns: readonly { readonly name: string; readonly start: number }[];
}

/** What stands in a line that has names and nothing else, one of an actor among them. */
function headerWords(source: string, actors: readonly string[]): RegExpExecArray[] | null {
  const words = [...source.matchAll(/\S+(?: \S+)*/g)];
  if (!words.some(([word]) => actors.includes(word))) return null;
  return words.every(([word]) => /^[A-Za-z][\w/]*$/.test(word)) ? words : null;
}

/** `  vCPU0                     vCPU1`: names of actors, two spaces or more between them. */
function findHeader(
  lines: readonly string[],
  actors: readonly string[],
  name: string,
): Header | null {
  for (const [line, source] of lines.entries()) {
    const words = headerWords(source, actors);
    if (words === null) continue;
    const columns = words.map((word) => ({
      name: actorOf(word[0], actors, { line: line + 1, at: word.index + 1, source }, name),
      start: word.index,
    }));
    return { line, columns };
  }
  return null;
}

/** A header without its spaces (`vCPU0 vCPU1`), or with names that are nobody's here. */
function refuseHeaders(lines: readonly string[], actors: readonly string[], name: string): void {
  for (const [at, source] of lines.entries()) {
    const words = source.trim().split(/\s+/);
    if (words.length > 1 && words.every((word) => actors.includes(word))) {
      throw lostColumns(lines, name);
    }
    if (!words.every((word) => /^v?CPU\s?\d+$/i.test(word))) continue;
    actorOf(
      words[0] as string,
      actors,
      { line: at + 1, at: source.search(/\S/) + 1, source },
      name,
    );
  }
}

const BEGINS_LIKE_A_CALL = /^\s*(?:[\w>.&*-]+ = )?\w+\(/;

function readColumns(
  lines: readonly string[],
  actors: readonly string[],
  name: string,
): { readonly rows: Numberless[]; readonly end: number } {
  const header = findHeader(lines, actors, name);
  if (header === null) {
    refuseHeaders(lines, actors, name);
    throw noDiagram(actors, name);
  }
  const rows: Numberless[] = [];
  let open: OpenRow | null = null;
  let at = header.line + 1;
  for (; at < lines.length; at++) {
    const source = lines[at] as string;
    if (headerWords(source, actors) !== null) break;
    const start = source.search(/\S/);
    if (start < 0 || /^[\s-]+$/.test(source)) {
      open = close(open, rows, name);
      continue;
    }
    const column = columnAt(header, start);
    if (open && open.column === column && start > open.place.at - 1 && continues(open, source)) {
      open = { column: open.column, place: open.place, text: joined(open.text, source) };
      continue;
    }
    open = close(open, rows, name);
    // What stands left of the first column is no part of the diagram, unless it reads like a row (lockdep
    // puts the names further right than what they head).
    const first = header.columns[0]?.start ?? 0;
    if (start < first && readCell(source) === null && !BEGINS_LIKE_A_CALL.test(source)) break;
    if (start === 0 && first === 0 && isProse(source)) break;
    refuseTwoSteps(header, source, at, name);
    open = { column, place: { line: at + 1, at: start + 1, source }, text: source.trim() };
  }
  close(open, rows, name);
  return { rows, end: at };
}

/** A cell belongs to the last column that starts at or before it. */
function columnAt({ columns }: Header, start: number): string {
  const found = columns.findLast((column) => column.start <= start) ?? columns[0];
  return (found as Header['columns'][number]).name;
}

/** Sentences: words, and nothing that a row has. */
function isProse(source: string): boolean {
  return (
    readCell(source) === null && /^[A-Z"']?[\w']*[ ,].*\w/.test(source) && !isUnfinished(source)
  );
}

/** Two steps in one row: nobody can say which comes first. */
function refuseTwoSteps({ columns }: Header, source: string, line: number, name: string): void {
  for (const { start } of columns) {
    const before = source.slice(0, start);
    if (before.trim() === '' || !before.endsWith('  ') || source[start] === ' ') continue;
    if (/^(?:\/\/|->)/.test(source.slice(start)) || readCell(before) === null) continue;
    if (source[start] === undefined) continue;
    throw new GracewalkError('E503', 'two steps in one row', {
      quoted: quoted(name, { line: line + 1, at: start + 1, source }, source.slice(start).trim()),
      notes: ['rows are in the order of time, so one of the two comes first'],
      help: 'give each step a row of its own',
    });
  }
}

function actorOf(typed: string, actors: readonly string[], place: Place, name: string): string {
  if (actors.includes(typed)) return typed;
  const meant =
    actors.find((actor) => actor.toLowerCase() === typed.toLowerCase()) ?? suggest(typed, actors);
  throw new GracewalkError('E102', `no actor '${typed}'`, {
    quoted: quoted(name, place, typed),
    notes: [`the scenario has ${actors.join(', ')}`],
    help: meant === null ? 'head the columns with these names' : `did you mean '${meant}'?`,
  });
}

/** A place in a question, for messages. */
export function quoted(
  name: string,
  place: Place,
  text: string,
  row?: Pick<Row, 'n' | 'column'>,
): NonNullable<GracewalkError['details']['quoted']> {
  const where = row ? `row ${row.n}, column ${row.column}` : `line ${place.line}`;
  return { where: `${name}, ${where}`, line: place.source, at: place.at, length: text.length };
}

function notARow({ place, column }: OpenRow, text: string, name: string): GracewalkError {
  return new GracewalkError('E503', `'${text}' is no row of a diagram`, {
    quoted: quoted(name, place, text),
    notes: [`it stands in the column of ${column}`],
    help: 'a row is `foo()`, `x = foo(y);  // -> value`, `if (foo())`, `<event>`, `[ remark ]` or `...`',
  });
}

function noDiagram(actors: readonly string[], name: string): GracewalkError {
  return new GracewalkError('E502', `there is no diagram in ${name}`, {
    notes: [`no line is a header: ${actors.join(', ')}, at least two spaces between names`],
    help: `or prefix each row with its CPU: \`[${actors[0] ?? 'CPU0'}] foo()\``,
  });
}

function lostColumns(lines: readonly string[], name: string): GracewalkError {
  const count = lines.findLastIndex((line) => line.trim() !== '') + 1;
  return new GracewalkError('E502', 'this diagram has lost its columns', {
    notes: [
      `in ${name}, lines 1-${count}: no row is indented deeper than its neighbours`,
      'web archives collapse spaces.  Take the raw message (lore: /raw)',
    ],
    help: 'or prefix each row with its CPU: `[vCPU1] tlb_finish_mmu()`',
  });
}
