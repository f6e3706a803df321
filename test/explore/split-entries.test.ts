import { describe, expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import { GracewalkError } from '../../src/base/errors.ts';
import type { Entry } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import * as halves from '../../src/machine/ops/halves.ts';
import * as mem from '../../src/machine/ops/memory.ts';
import { smp_mb } from '../../src/machine/ops/store-buffer.ts';
import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import { mapX, tasks, type Mapped } from '../zoo/tables.ts';

/** Halves of entries are footprints of their own, and are buffered and forwarded by themselves. */

type Doing = (m: Mapped) => Steps<unknown>;

/** How many runs there are, and what the actors returned in them. */
function outcomes(model: MemoryModel, ...begins: Doing[]): { runs: number; ends: string[] } {
  const m = mapX({ cpus: begins.map((_, at) => `CPU${at}`), model, pae: true });
  const ends = new Set<string>();
  const program = tasks(m.machine, ...begins.map((begin) => () => begin(m)));
  const { runs } = explore(program, {
    ended: ({ nodes }) => ends.add(begins.map((_, at) => String(nodes[at]!.result)).join()),
  });
  return { runs, ends: [...ends].sort() };
}

const read = { low: halves.read_low, high: halves.read_high };
const write = { low: halves.write_low, high: halves.write_high };

describe('footprints', () => {
  const rows: readonly [string, Doing, Doing, number][] = [
    ['a half and the other', (m) => read.low(m.place(0)), (m) => write.high(m.place(0), m.none), 1],
    ['a half and itself', (m) => read.high(m.place(0)), (m) => write.high(m.place(0), m.none), 2],
    [
      'the whole and the low',
      (m) => mem.read_entry(m.place(0)),
      (m) => write.low(m.place(0), m.none),
      2,
    ],
    [
      'the whole and the high',
      (m) => mem.read_entry(m.place(0)),
      (m) => write.high(m.place(0), m.none),
      2,
    ],
    [
      'a low half and a whole store',
      (m) => read.low(m.place(0)),
      (m) => mem.xchg_entry(m.place(0), m.none),
      2,
    ],
    [
      'a high half and a whole store',
      (m) => read.high(m.place(0)),
      (m) => mem.xchg_entry(m.place(0), m.none),
      2,
    ],
    [
      'a high half and an exchange of the low',
      (m) => read.high(m.place(0)),
      (m) => halves.xchg_low(m.place(0), m.none),
      1,
    ],
    // What hardware can walk is what both stores together leave.
    [
      'stores to both halves',
      (m) => write.low(m.place(0), m.none),
      (m) => write.high(m.place(0), m.none),
      2,
    ],
  ];

  test.each(rows)('%s', (_name, first, second, runs) => {
    expect(outcomes('sc', first, second).runs).toBe(runs);
  });
});

describe('store buffers', () => {
  /** SB with an access to a half in between: do both loads read what was there before? */
  function overtakes(between: Doing): boolean {
    const { ends } = outcomes(
      'tso',
      function* (m) {
        yield* write.low(m.place(1), m.none);
        yield* between(m);
        return (yield* read.low(m.place(2))).bits;
      },
      function* (m) {
        yield* write.low(m.place(2), m.none);
        yield* smp_mb();
        return (yield* read.low(m.place(1))).bits;
      },
    );
    return ends.some((end) => !end.split(',').includes('0'));
  }

  test.each([
    ['read_low', (m: Mapped) => read.low(m.place(0)), true],
    ['read_high', (m: Mapped) => read.high(m.place(0)), true],
    ['write_low', (m: Mapped) => write.low(m.place(0), m.none), true],
    ['write_high', (m: Mapped) => write.high(m.place(0), m.none), true],
    ['entry_relied_on', (m: Mapped) => halves.entry_relied_on(m.linked(0), 'believes'), true],
    ['xchg_low', (m: Mapped) => halves.xchg_low(m.place(0), m.none), false],
  ] as const)('a load overtakes a store across %s or not', (_name, between, expected) => {
    expect(overtakes(between)).toBe(expected);
  });

  test('a CPU sees the half that it has stored, and others see the halves in order', () => {
    const { ends } = outcomes(
      'tso',
      function* (m) {
        yield* write.low(m.place(0), m.none);
        yield* write.high(m.place(0), m.none);
        return (yield* read.low(m.place(0))).bits + (yield* read.high(m.place(0))).bits;
      },
      function* (m) {
        const high = yield* read.high(m.place(0));
        const low = yield* read.low(m.place(0));
        return `${high.bits === 0 ? 'none' : 'X'}/${low.bits === 0 ? 'none' : 'X'}`;
      },
    );
    expect(ends).toEqual(['0,X/X', '0,X/none', '0,none/none']);
  });

  test('a load of the whole entry waits for a half in the buffer, and has it then', () => {
    const mixed = function* (m: Mapped): Steps<bigint> {
      yield* write.high(m.place(0), m.none);
      const entry: Entry = yield* mem.read_entry(m.place(0));
      return entry.bits >> 32n;
    };
    expect(outcomes('tso', mixed)).toEqual({ runs: 1, ends: ['0'] });
  });

  test('a whole store serves loads of its halves', () => {
    const split = function* (m: Mapped): Steps<number> {
      yield* mem.write_entry(m.place(0), m.none);
      return (yield* read.low(m.place(0))).bits + (yield* read.high(m.place(0))).bits;
    };
    expect(outcomes('tso', split)).toEqual({ runs: 1, ends: ['0'] });
  });
});

test('where an entry is one word, half of it is refused', () => {
  const m = mapX({ cpus: ['CPU0'] });
  let complaint: unknown;
  try {
    explore(tasks(m.machine, () => halves.read_low(m.place(0))));
  } catch (error) {
    complaint = error;
  }
  expect(complaint).toBeInstanceOf(GracewalkError);
  expect((complaint as GracewalkError).code).toBe('E116');
  expect((complaint as GracewalkError).message).toContain('half of it is accessed');
});
