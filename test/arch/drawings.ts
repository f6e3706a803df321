import { draw, drawingTitle, rangeText } from '../../src/arch/drawing.ts';
import type { EntryFormat } from '../../src/arch/entry-format.ts';
import { tableKindNamed } from '../../src/arch/kinds.ts';
import type { TableKind } from '../../src/arch/table-kind.ts';

/** Drawings of bits in comments and documentation: where they are, how they are read and written. */

export interface Drawn {
  readonly title: string;
  /** `63:NX 62..59:PKEY ...` */
  readonly fields: string;
}

export function fieldsOf({ fields }: EntryFormat): string {
  return fields.map((field) => `${rangeText(field)}:${field.name}`).join(' ');
}

/** The formats of some kinds of tables, each drawing once. */
export function formatsOf(
  kinds: readonly string[],
  wanted: (it: EntryFormat, kind: TableKind) => boolean = () => true,
): [TableKind, EntryFormat][] {
  const seen = new Set<string>();
  return kinds
    .map((name) => tableKindNamed(name))
    .flatMap((kind) =>
      [...kind.formats, ...kind.roots].flatMap((it): [TableKind, EntryFormat][] => {
        if (!wanted(it, kind)) return [];
        const key = `${it.name} ${it.only} ${fieldsOf(it)}`;
        if (seen.has(key)) return [];
        seen.add(key);
        return [[kind, it]];
      }),
    );
}

/** Title, blank line, drawing, blank line, for each. */
export function drawingsText(formats: readonly (readonly [TableKind, EntryFormat])[]): string[] {
  return formats.flatMap(([kind, it]) => [
    drawingTitle(kind, it),
    '',
    ...draw(it, 100).map((line) => `    ${line}`),
    '',
  ]);
}

const RANGES = /^ {4}(\d+(\.\.\d+)?)( +\d+(\.\.\d+)?)*$/;

/** Reads drawings: an unindented title, then pairs of indented rows of bit numbers and names. */
export function parseDrawings(lines: readonly string[]): Drawn[] {
  const drawn: Drawn[] = [];
  let title = '';
  let fields: string[] = [];
  let names = false; // a row of names may look like one of numbers
  lines.forEach((line, at) => {
    if (names) names = false;
    else if (RANGES.test(line)) {
      names = true;
      const ranges = line.trim().split(/ +/);
      const below = (lines[at + 1] ?? '').trim().split(/ +/);
      if (ranges.length !== below.length) {
        throw new Error(`${title}: ${ranges.length} ranges and ${below.length} names`);
      }
      fields.push(...ranges.map((range, column) => `${range}:${below[column]}`));
    } else if (line === '' && fields.length > 0) {
      drawn.push({ title, fields: fields.join(' ') });
      fields = [];
    } else if (/^\S/.test(line)) {
      title = line;
    }
  });
  if (fields.length > 0) drawn.push({ title, fields: fields.join(' ') });
  return drawn;
}
