import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readDiagram } from '../../src/ask/read-diagram.ts';
import { ROOT } from '../cli/gracewalk.ts';

/** How text becomes a diagram. */
const ACTORS = ['vCPU0', 'vCPU1'];

function rows(text: string): string[] {
  return readDiagram(text, ACTORS, 'race.txt').rows.map(
    ({ column, text: row }) => `${column}: ${row}`,
  );
}

function refused(text: string): string {
  try {
    rows(text);
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return `${code} ${message}`;
  }
  return 'understood';
}

const mail = readFileSync(join(ROOT, 'docs/asking/mail.txt'), 'utf8');

const MAIL = [
  'vCPU1: tlb_gather_mmut(&tlb, mm);',
  'vCPU1: ....',
  'vCPU0: local_irq_disable();',
  'vCPU0: ... starts page-table walk ...',
  'vCPU0: <schedules out; sets KVM_VCPU_PREEMPTED>',
  'vCPU1: tlb_finish_mmu(&tlb)',
  'vCPU1: ...',
  'vCPU1: kvm_flush_tlb_multi()',
  'vCPU1: if (state & KVM_VCPU_PREEMPTED)',
  'vCPU1: if (try_cmpxchg(,&state, state | KVM_VCPU_FLUSH_TLB))',
  'vCPU1: __cpumask_clear_cpu(cpu, flushmask);',
  'vCPU1: tlb_remove_table_sync_one() / call_rcu()',
  'vCPU0: <schedules back in>',
  'vCPU0: ... continues page-table walk ...',
  'vCPU0: local_irq_enable();',
];

describe('the diagram of a mail', () => {
  test('is found between its sentences', () => expect(rows(mail)).toEqual(MAIL));

  test.each([
    ['quoted', '> '],
    ['quoted in a quote', '> > '],
    ['quoted without spaces', '>>'],
    ['indented by git log', '    '],
    ['quoted and indented', '    > '],
  ])('%s', (_how, prefix) => expect(rows(mail.replace(/^/gm, prefix))).toEqual(MAIL));

  test('with the line ends of another system', () =>
    expect(rows(mail.replaceAll('\n', '\r\n'))).toEqual(MAIL));

  test('without its columns is refused', () => {
    const collapsed = readFileSync(join(ROOT, 'docs/asking/mail-from-an-archive.txt'), 'utf8');
    expect(refused(collapsed)).toBe('E502 this diagram has lost its columns');
  });
});

test('a row goes on below: arguments, events and comments', () => {
  const text = `
    vCPU0                   vCPU1
                            try_cmpxchg(&src->preempted, &state,
                                state | KVM_VCPU_FLUSH_TLB);
                              // true
    <schedules
        out>
    pte = ptep_get_lockless(ptep);
      // !!! use-after-free
  `;
  const { rows: read } = readDiagram(text, ACTORS, 'race.txt');
  expect(read.map(({ column }) => column)).toEqual(['vCPU1', 'vCPU0', 'vCPU0']);
  expect(read[0]?.cell).toMatchObject({ names: ['try_cmpxchg'], done: true, value: 'true' });
  expect(read[1]?.cell).toMatchObject({ parts: ['schedules out'] });
  expect(read[2]?.cell).toMatchObject({ violation: 'use-after-free', value: null });
});

test('cells', () => {
  const cell = (text: string): unknown =>
    readDiagram(`[vCPU0] ${text}`, ACTORS, 'race.txt').rows[0]?.cell;
  expect(cell('foo()')).toMatchObject({ names: ['foo'], done: false, value: null });
  expect(cell('a->b[i] |= foo(x = 1, (y));')).toMatchObject({ names: ['foo'], done: true });
  expect(cell('foo()  -> pteA')).toMatchObject({ names: ['foo'], value: '-> pteA' });
  expect(cell('foo() / bar(1);')).toMatchObject({ names: ['foo', 'bar'], done: true });
  expect(cell('if (!foo(x))')).toMatchObject({ names: ['foo'], truth: false });
  expect(cell('if (READ_ONCE(x) & SOME_BIT)')).toMatchObject({
    names: ['READ_ONCE'],
    value: 'SOME_BIT',
  });
  expect(cell('<a; b c>')).toMatchObject({ parts: ['a', 'b c'] });
  expect(cell('<TLB fill: 0x1000 -> X>')).toMatchObject({
    parts: ['TLB fill: 0x1000 -> X'],
    value: null,
  });
  expect(cell('[ a remark ]')).toEqual({ is: 'remark', violation: null });
  expect(cell('... walks ...')).toEqual({ is: 'elision' });
});

test('the column of a row is the last that starts at or before it', () => {
  const text =
    'vCPU0         vCPU1\n  a()\n             b()\n              c()\n                d()\n';
  expect(rows(text)).toEqual(['vCPU0: a()', 'vCPU0: b()', 'vCPU1: c()', 'vCPU1: d()']);
});

test('of two diagrams the first is read, and where the other begins is told', () => {
  const one = 'vCPU0     vCPU1\n  a();\n          b();\n';
  const two = 'vCPU0     vCPU1\n  c();\n';
  for (const between of ['', '\n', '\nOr this:\n\n']) {
    const both = readDiagram(`${one}${between}${two}`, ACTORS, 'race.txt');
    expect(both.rows.map(({ text }) => text)).toEqual(['a();', 'b();']);
    expect(both.next).toBe(4 + between.split('\n').length - 1);
  }
  expect(readDiagram(`${one}\nThat is all.\n`, ACTORS, 'race.txt').next).toBeNull();
});

test.each([
  [' 1 [vCPU0] a();\n 2 [vCPU1] b();\n\nOr this:\n\n 1 [vCPU1] c();\n 2 [vCPU0] d();\n', 6],
  [' 1 [vCPU0] a();\n 2 [vCPU1] b();\n 1 [vCPU1] c();\n', 3],
  ['[vCPU0] a();\n[vCPU1] b();\n\nOr this:\n\n[vCPU1] c();\n', 6],
])('of two tagged diagrams, too: %j', (text, next) => {
  const both = readDiagram(text, ACTORS, 'race.txt');
  expect(both.rows.map((row) => row.text)).toEqual(['a();', 'b();']);
  expect(both.next).toBe(next);
});

test.each([
  ' 1 [vCPU0] a();\n  ...\n11 [vCPU1] b();\n\nThat is all.\n',
  '[vCPU0] a();\n\n...\n\n[vCPU1] b();\n',
  '[vCPU0] a();\nas you know,\n[vCPU1] b();\n',
])('what stands between tagged rows does not always end them: %j', (text) => {
  const { rows: all, next } = readDiagram(text, ACTORS, 'race.txt');
  expect(all.map((row) => row.text)).toEqual(['a();', 'b();']);
  expect(next).toBeNull();
});

test('names may stand further right than what they head, as lockdep puts them', () => {
  const text =
    '       vCPU0                    vCPU1\n       ----\n  a();\n                                b();\n';
  expect(rows(text)).toEqual(['vCPU0: a();', 'vCPU1: b();']);
});

test.each([
  ['vCPU0 vCPU1\na()\nb()', 'E502 this diagram has lost its columns'],
  ['no diagram at all', 'E502 there is no diagram in race.txt'],
  ['CPU0      CPU1\n  a()', "E102 no actor 'CPU0'"],
  ['vCPU0     vCPU7\n  a()', "E102 no actor 'vCPU7'"],
  ['[vCPU0] a()\n[vCPU9] b()', "E102 no actor 'vCPU9'"],
  ['vCPU0     vCPU1\n  a();    b();', 'E503 two steps in one row'],
  ['  vCPU0     vCPU1\n  state++;', "E503 'state++;' is no row of a diagram"],
])('%j is refused', (text, why) => expect(refused(text)).toBe(why));
