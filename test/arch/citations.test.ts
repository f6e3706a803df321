import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { citationsOf } from '../../src/arch/citations.ts';
import { TABLE_KINDS } from '../../src/arch/kinds.ts';
import type { Citation } from '../../src/base/citation.ts';

/** No fact without the place where it stands. */

const MANUALS = [
  'Intel SDM',
  'AMD APM',
  'Arm ARM DDI 0487',
  'Power ISA',
  'z/Architecture Principles of Operation',
  'RISC-V Instruction Set Manual',
];

/** A manual with the title of a section, or a kernel version with a file of the tree. */
function complete({ source, place }: Citation): boolean {
  if (MANUALS.some((name) => source.startsWith(name))) return place.length >= 4;
  const kernel = /^linux v\d+\.\d+(, v\d+\.\d+)*$/.test(source);
  return kernel && /^[\w-]+(\/[\w-]+)+(\.[ch]|\/Kconfig)(, .+)?$/.test(place);
}

describe.each(TABLE_KINDS.map((kind) => [kind.name, kind] as const))('%s', (_name, kind) => {
  const cited = citationsOf(kind);

  test('every fact says where it stands', () => {
    const missing = cited.filter(({ cite }) => cite === undefined || !complete(cite));
    expect(missing).toEqual([]);
  });

  test('there is something to say about each subject', () => {
    const { waits, ...rules } = kind.rules;
    for (const facts of Object.values(rules)) expect(facts).not.toEqual([]);
    if (kind.stage === 1) expect(waits).not.toEqual([]);
    expect(cited.length).toBeGreaterThan(kind.levels.length + kind.formats.length);
  });
});

test('what is no citation is noticed', () => {
  expect(complete({ source: 'linux 6.12', place: 'mm/gup.c' })).toBe(false);
  expect(complete({ source: 'linux v6.12', place: 'gup' })).toBe(false);
  expect(complete({ source: 'folklore', place: 'everybody knows' })).toBe(false);
  expect(complete({ source: 'linux v6.12', place: 'mm/gup.c, gup_fast' })).toBe(true);
});

test('npm run citations lists them by place', () => {
  const script = fileURLToPath(new URL('../../tools/citations.mjs', import.meta.url));
  const text = execFileSync('node', [script, 's390'], { encoding: 'utf8' });
  expect(text).toMatch(
    /^linux v6\.12: arch\/s390\/Kconfig, MMU_GATHER_RCU_TABLE_FREE\n {2}s390: RCU alone/m,
  );
  expect(text).not.toContain('no source');
});
