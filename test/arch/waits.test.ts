import { describe, expect, test } from 'vitest';
import { arm64, powerpc_radix, s390, x86_64, type MachineSpec } from '../../src/arch/index.ts';
import { tableKindNamed } from '../../src/arch/kinds.ts';
import {
  BROADCAST_FLUSH,
  CALL_RCU,
  IPI_FLUSH,
  SYNC_ONE,
  type Covers,
  type Wait,
} from '../../src/arch/waits.ts';
import { returned, safe, scenario } from '../../src/index.ts';
import * as linux from '../../src/kernel/index.ts';
import { checkVariant } from '../../src/scenario/check.ts';

/** The table of waits and readers says what exploration finds. */

const ADDR = 0x1000;

/** How tables are freed so that nothing but this wait (and the flush) comes before. */
const FREEING = new Map<Wait, { readonly rcu: boolean; readonly memory: 'ok' | 'fails' }>([
  [IPI_FLUSH, { rcu: false, memory: 'ok' }],
  [BROADCAST_FLUSH, { rcu: false, memory: 'ok' }],
  [SYNC_ONE, { rcu: true, memory: 'fails' }],
  [CALL_RCU, { rcu: true, memory: 'ok' }],
]);

type Reader = keyof Pick<Covers, 'irqOff' | 'foreign' | 'rcuReadLock'>;

const gup = linux.get_user_pages_fast;
const READERS: Readonly<Record<Reader, { readonly on: readonly string[]; readonly rcu: boolean }>> =
  {
    irqOff: { on: ['CPU0', 'CPU1'], rcu: false },
    foreign: { on: ['CPU1'], rcu: false },
    rcuReadLock: { on: ['CPU0', 'CPU1'], rcu: true },
  };

function explored(machine: MachineSpec, wait: Wait, reader: Reader): readonly string[] {
  const freeing = FREEING.get(wait);
  if (!freeing) throw new Error(`no way of freeing by ${wait.by}`);
  const { on, rcu } = READERS[reader];
  const question = scenario<{ mm: linux.Mm }>('waits', {
    machine,
    config: { MMU_GATHER_RCU_TABLE_FREE: freeing.rcu },
    alloc: { GFP_NOWAIT: freeing.memory },
    setup: (m) => {
      const pages = { [ADDR]: linux.new_page(m, 'X'), 0x200000: linux.new_page(m, 'Y') };
      return { mm: linux.new_mm(m, 'mm', pages, { on }) };
    },
    run: {
      CPU0: ({ mm }) => (rcu ? linux.walk_page_range_rcu(mm, ADDR) : gup(mm, ADDR)),
      CPU1: ({ mm }) => linux.munmap(mm, ADDR, linux.PAGE_SIZE),
    },
    sometimes: { done: returned(linux.munmap, undefined) },
    variants: { only: safe() },
  });
  return checkVariant(question, 'only', { limits: {}, now: () => 0 }).kinds;
}

describe.each([
  ['x86_64', x86_64({ cpus: 2 })],
  ['arm64', arm64({ cpus: 2 })],
  ['powerpc_radix', powerpc_radix({ cpus: 2 })],
  ['s390', s390({ cpus: 2 })],
])('%s', (name, machine) => {
  const waits = tableKindNamed(name).rules.waits.filter((wait) => FREEING.has(wait));

  test('its flush, the interrupt to all CPUs and RCU are in the table', () => {
    const flush = machine.arch.flush === 'ipi' ? IPI_FLUSH : BROADCAST_FLUSH;
    expect(waits).toEqual([flush, SYNC_ONE, CALL_RCU]);
  });

  test.each(
    waits.flatMap((wait) =>
      (Object.keys(READERS) as Reader[]).map((reader) => [wait.by, reader, wait] as const),
    ),
  )('%s covers %s as the table says', (_by, reader, wait) => {
    const kinds = explored(machine, wait, reader);
    expect(kinds).toEqual(wait.covers[reader] === 'yes' ? [] : ['use-after-free']);
  });
});
