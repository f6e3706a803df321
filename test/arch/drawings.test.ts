import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { drawingTitle } from '../../src/arch/drawing.ts';
import type { EntryFormat } from '../../src/arch/entry-format.ts';
import { TABLE_KINDS } from '../../src/arch/kinds.ts';
import type { TableKind } from '../../src/arch/table-kind.ts';
import { drawingsText, fieldsOf, formatsOf, parseDrawings } from './drawings.ts';

/**
 * The drawings of bits in source comments are those of the field lists. `UPDATE_DOCS=1 npx vitest run
 * test/arch` draws them anew, to be read in the diff.
 */

const hardware = (it: EntryFormat): boolean => it.only === undefined;
const kvm = (it: EntryFormat): boolean => it.only !== undefined;

const root = (it: EntryFormat): boolean => it.levels.length === 0;
const entry = (it: EntryFormat): boolean => !root(it);
/** What is not present looks the same with every granule. */
const present = (it: EntryFormat): boolean => it.kind === 'leaf' || it.kind === 'table';
const absent = (it: EntryFormat): boolean => !present(it);

type Wanted = (it: EntryFormat, kind: TableKind) => boolean;

const FILES: [string, readonly string[], Wanted?][] = [
  ['x86-64.ts', ['x86_64', 'x86_64_la57']],
  ['x86-pae.ts', ['x86_pae']],
  ['arm64-entry.ts', ['arm64', 'arm64_16k', 'arm64_64k', 'arm64_lpa2', 'arm64_64k_lpa'], present],
  ['arm64-absent.ts', ['arm64'], absent],
  ['arm64-stage2.ts', ['arm64_s2_48']],
  ['powerpc-radix.ts', ['powerpc_radix', 'powerpc_radix_64k'], entry],
  ['powerpc-roots.ts', ['powerpc_radix'], root],
  ['s390-entry.ts', ['s390'], entry],
  ['s390-roots.ts', ['s390'], root],
  ['riscv.ts', ['riscv_sv57', 'riscv_sv39x4']],
  ['ept.ts', ['ept'], hardware],
  ['npt.ts', ['npt'], hardware],
  ['kvm-spte.ts', ['ept', 'npt'], kvm],
];

/** The comment block that holds a file's drawings, with its first and last line. */
const BLOCK =
  /\/\*\n \* Drawings, compared with the code by test\/arch\/drawings\.test\.ts\.\n[^]*?\*\/\n/;

function block(lines: readonly string[]): string {
  const body = lines.map((line) => ` * ${line}`.trimEnd()).join('\n');
  return `/*\n * Drawings, compared with the code by test/arch/drawings.test.ts.\n *\n${body}\n */\n`;
}

const path = (file: string): URL => new URL(`../../src/arch/${file}`, import.meta.url);

describe.each(FILES)('%s', (file, kinds, wanted) => {
  const formats = formatsOf(kinds, wanted);

  if (process.env.UPDATE_DOCS) {
    const text = readFileSync(path(file), 'utf8');
    const drawn = block(drawingsText(formats).slice(0, -1));
    const put = BLOCK.test(text) ? text.replace(BLOCK, () => drawn) : `${text}\n${drawn}`;
    writeFileSync(path(file), put);
  }

  const comment = BLOCK.exec(readFileSync(path(file), 'utf8'))?.[0] ?? '';
  const lines = comment.split('\n').slice(0, -2);
  const drawn = parseDrawings(lines.map((line) => line.replace(/^ \* ?/, '')));

  test('draws every format', () => {
    expect(drawn.map(({ title }) => title)).toEqual(
      formats.map(([kind, it]) => drawingTitle(kind, it)),
    );
  });

  test.each(formats.map(([kind, it]) => [drawingTitle(kind, it), it] as const))(
    '%s',
    (title, it) => {
      expect(drawn.find((one) => one.title === title)?.fields).toBe(fieldsOf(it));
    },
  );
});

/** Sections of the page, and the kinds whose formats they draw. */
const SECTIONS: [string, readonly string[]][] = [
  ['x86-64', ['x86_64', 'x86_64_la57']],
  ['x86-32 with PAE', ['x86_pae']],
  ['Intel EPT', ['ept', 'ept5']],
  ['AMD nested paging', ['npt']],
  ['arm64 stage 1', ['arm64', 'arm64_16k', 'arm64_64k', 'arm64_lpa2', 'arm64_64k_lpa']],
  ['arm64 stage 2', ['arm64_s2_48']],
  ['powerpc radix', ['powerpc_radix', 'powerpc_radix_64k']],
  ['s390', ['s390']],
  ['RISC-V', ['riscv_sv57', 'riscv_sv39x4']],
];

describe('docs/entry-formats.md', () => {
  const page = new URL('../../docs/entry-formats.md', import.meta.url);
  const region = /(<!-- drawings -->\n)[^]*(<!-- end of drawings -->)/;
  const sections = SECTIONS.map(([title, kinds]) => ({ title, formats: formatsOf(kinds) }));

  if (process.env.UPDATE_DOCS) {
    const body = sections.map(({ title, formats }) => {
      const drawings = drawingsText(formats).slice(0, -1).join('\n');
      return `\n## ${title}\n\n\`\`\`text\n${drawings}\n\`\`\`\n`;
    });
    const text = readFileSync(page, 'utf8');
    writeFileSync(
      page,
      text.replace(region, (_, from: string, to: string) => `${from}${body.join('')}\n${to}`),
    );
  }

  const text = readFileSync(page, 'utf8').replaceAll(/^```.*$/gm, '');
  const drawn = parseDrawings((region.exec(text)?.[0] ?? '').split('\n'));

  test('draws every format, as it is', () => {
    expect(drawn).toEqual(
      sections.flatMap(({ formats }) =>
        formats.map(([kind, it]) => ({ title: drawingTitle(kind, it), fields: fieldsOf(it) })),
      ),
    );
  });
});

test('a drawing that is wrong is noticed', () => {
  const [first] = formatsOf(['x86_64']);
  if (!first) throw new Error('no format');
  const lines = drawingsText([first]);
  const moved = lines.map((line) => line.replace('62..59', '62..60'));
  expect(parseDrawings(lines)[0]?.fields).toBe(fieldsOf(first[1]));
  expect(parseDrawings(moved)[0]?.fields).not.toBe(fieldsOf(first[1]));
  expect(() => parseDrawings(lines.map((line) => line.replace('PKEY', '')))).toThrow('names');
});

test('every kind of tables has its formats drawn somewhere', () => {
  const drawn = new Set(
    FILES.flatMap(([, kinds, wanted]) => formatsOf(kinds, wanted)).map(([, it]) => fieldsOf(it)),
  );
  const missing = TABLE_KINDS.flatMap((kind) =>
    [...kind.formats, ...kind.roots]
      .filter((it) => !drawn.has(fieldsOf(it)) && (it.kind !== 'absent' || kind.name === 'arm64'))
      .map((it) => drawingTitle(kind, it)),
  );
  // Second stages with other granules, and the less common LPA2: the address begins elsewhere.
  const rare = /^arm64_(s2_(16k|64k)|16k_lpa2) /;
  expect(missing.filter((title) => !rare.test(title))).toEqual([]);
});
