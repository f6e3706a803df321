import { expect, test } from 'vitest';
import { complaint } from './gracewalk.ts';
import { mistakes } from './mistake.ts';

/** Nobody checks the types of a scenario: values that are none, where they are given. */

const mistake = mistakes();
/** In a process of its own. */
const mistakeAlone = mistakes(complaint);

test('predicates may take a view apart', async () => {
  const vacuous = await mistake('taken-apart', {
    run: '{ CPU0: ({ x }) => WRITE_ONCE(x, 1) }',
    always: "{ 'interrupts stay on': ({ irqs_off }) => !irqs_off('CPU0') }",
    sometimes: "{ 'x is up': ({ read, s }) => read(s.x) === 1 }",
  });
  expect(vacuous).toBe('exit 0');
});

test.each([
  ["v.irqs_off('CPU7')", "v.irqs_off() asks about 'CPU7', which is no CPU", 'E102'],
  ['v.freed(v.s.x)', 'v.freed() was given something that is no page', 'E120'],
  ['v.entry(v.s.pmd).present', 'v.entry() was given something that is no page-table entry', 'E120'],
  ['v.entry(v.s.x).present', 'x is a 32-bit word, not a page-table entry', 'E116'],
])('a question to a view that has no answer: %s', async (asked, what, code) => {
  const said = await mistake('no-answer', { always: `{ 'never so': (v) => !${asked} }` });
  expect(said).toContain(`error: ${what}\n`);
  expect(said).toMatch(new RegExp(`\\[${code}\\]\\nexit 2$`));
});

test.each([
  ["touched('CPU0', ({ x }) => x, 'freeed')", "touched() asks for 'freeed', which no page can be"],
  ["touched('CPU0', ({ x }) => x, 'freed')", 'touched() was given something that is no page'],
  ['returned(linux.mumap, 1)', 'returned() was given something that is no function'],
  ["entered('CPU0', linux.mumap)", 'entered() was given something that is no function'],
])('a witness that nothing can be: %s', async (witness, what) => {
  const said = await mistake('no-witness', { sometimes: `{ 'it happens': ${witness} }` });
  expect(said).toContain(`error: ${what}\n`);
  expect(said).toMatch(/exit 2$/);
});

test.each([
  [{ run: '{ CPU0: ({ x }) => WRITE_ONCE(x, 1n) }' }, 'bigint 1 does not fit x, a 32-bit word'],
  [{ config: '{ MAX_TABLE_BATCH: 0 }' }, 'MAX_TABLE_BATCH cannot be 0'],
  [{ config: "{ PT_RECLAIM: 'no' }" }, 'PT_RECLAIM cannot be "no"'],
  [{ machine: 'x86_64({ cpu: 1 })' }, 'machine x86-64, undefined CPUs has no CPU'],
])('a value that is none: %j', async (parts, what) => {
  const said = await mistake('no-value', parts);
  expect(said).toContain(`error: ${what}\n`);
  expect(said).toMatch(/exit 2$/);
});

test.each([
  'Promise.reject(new Error("later"))',
  'setTimeout(() => { throw new Error("later"); })',
])('E112: thrown when nobody waits for it: %s', async (later) => {
  const said = await mistakeAlone('later', {
    setup: `(m) => { ${later}; return { x: m.memory.variable('x') }; }`,
  });
  expect(said).toContain('error: the scenario threw Error: later\n');
  expect(said).not.toMatch(/^ +at /m);
  expect(said).toMatch(/exit 2$/);
});

test.each([
  ["(m) => ({ x: m.memory.variable('x'), up: false })", '{ *CPU0(s) { s.up = true; } }'],
  ["(m) => ({ x: m.memory.variable('x'), all: [] })", '{ *CPU0(s) { s.all.push(1); } }'],
  ["(m) => ({ x: m.memory.variable('x'), own: {} })", '{ *CPU0(s) { s.own.up = true; } }'],
])('E112: actors share words and nothing else: %s', async (setup, run) => {
  const said = await mistake('shared', { setup, run });
  expect(said).toMatch(/^error: the scenario threw TypeError: Cannot (assign|add)/);
  expect(said).toMatch(/exit 2$/);
});
