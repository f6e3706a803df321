import { valueOf, type EntryFormat, type Field } from './entry-format.ts';
import { numberText } from './entry-text.ts';
import type { TableKind } from './table-kind.ts';

/**
 * The drawing of an entry's bits: pairs of rows, bit numbers above names, and with a value its bits below.
 * Wide entries continue in another pair.
 *
 *     63  62..59  58   57   56..52  51..12  11   10   9    8  7    6  5  4    3    2   1   0
 *     NX  PKEY    SW5  SW4  -       PFN     SW3  SW2  SW1  G  PAT  D  A  PCD  PWT  US  RW  P
 */
export function draw(it: EntryFormat, room: number, entry?: bigint): string[] {
  const lines: string[] = [];
  let columns: string[][] = [];
  const used = (): number => columns.reduce((sum, [first = '']) => sum + first.length + 2, -2);
  const flush = (): void => {
    for (const row of columns[0]?.keys() ?? []) {
      lines.push(
        columns
          .map((column) => column[row])
          .join('  ')
          .trimEnd(),
      );
    }
    columns = [];
  };
  for (const field of it.fields) {
    const cells = [rangeText(field), field.name];
    if (entry !== undefined) cells.push(numberText(valueOf(field, entry)));
    const width = Math.max(...cells.map((cell) => cell.length));
    if (columns.length > 0 && used() + 2 + width > room) flush();
    columns.push(cells.map((cell) => cell.padEnd(width)));
  }
  flush();
  return lines;
}

/** `51..12`, or one bit. */
export function rangeText({ high, low }: Field): string {
  return high === low ? String(high) : `${high}..${low}`;
}

/** What a drawing is of: `x86_64 pmd, pud: table`, `ept pte: locked entry (KVM 6.12)`. */
export function drawingTitle(kind: TableKind, it: EntryFormat): string {
  const places = it.levels.map((level) => kind.levels[level]?.name).join(', ');
  const what = it.levels.length === 0 ? it.name : `${places}: ${it.name}`;
  return `${kind.name} ${what}${it.only === undefined ? '' : ` (${it.only})`}`;
}
