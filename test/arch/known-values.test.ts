import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compile, type Decoded } from '../../src/arch/decode.ts';
import { entryText } from '../../src/arch/entry-text.ts';
import { tableKindNamed } from '../../src/arch/kinds.ts';

/** Entries whose meaning is known from elsewhere decode to that meaning. */

interface Known {
  readonly name: string;
  readonly level: string;
  readonly bits: bigint;
  readonly only: string | undefined;
  readonly text: string;
  readonly source: string;
}

const rows: Known[] = readFileSync(new URL('known-values.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [name = '', level = '', bits = '', only, text = '', , source = ''] = line.split(' | ');
    return {
      name,
      level,
      bits: BigInt(bits),
      only: only === '-' ? undefined : only,
      text,
      source,
    };
  });

function readings({ name, level, bits }: Known): readonly Decoded[] {
  const kind = tableKindNamed(name);
  const root = kind.roots.find((format) => format.name === level);
  if (root) return [compile(root, kind.pageShift).decode(bits)];
  return kind.readings(
    kind.levels.findIndex((it) => it.name === level),
    bits,
  );
}

describe.each([...new Set(rows.map(({ name }) => name))])('%s', (name) => {
  const own = rows.filter((row) => row.name === name);

  test.each(own.map((row) => [row.level, `0x${row.bits.toString(16)}`, row] as const))(
    '%s %s',
    (_level, _bits, row) => {
      const reading = readings(row).find(({ format }) => format.only === row.only);
      expect(reading && entryText(reading, row.bits)).toBe(row.text);
      expect(row.source).not.toBe('');
    },
  );
});

test('there are ten or more for every architecture', () => {
  const families = 'x86_64 x86_pae ept npt arm64 arm64_s2 powerpc s390 riscv'.split(' ');
  for (const family of families) {
    const exact = family === 'arm64' ? (name: string) => name === family : null;
    const own = rows.filter(({ name }) => exact?.(name) ?? name.startsWith(family));
    expect(`${family} ${own.length >= 10}`).toBe(`${family} true`);
  }
});
