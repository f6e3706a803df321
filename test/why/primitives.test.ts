import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { AnyFn } from '../../src/machine/fn.ts';

/**
 * Everything that a machine can do is a protection, ends one, or is on this list with the reason: so that none is
 * left out of `why` because nobody thought of it.
 */
const NO_PROTECTION: Readonly<Record<string, readonly string[]>> = {
  'a load or a store, for those who are being protected': [
    'READ_ONCE',
    'WRITE_ONCE',
    'read_high',
    'read_low',
    'write_high',
    'write_low',
  ],
  'begins something that others wait for; the wait is the protection': ['send_ipi', 'interrupt'],
  'the wait of synchronize_rcu() and the callbacks of call_rcu(), which are the protections': [
    'wait_grace_period',
    'after_grace_period',
    'wait_srcu_grace_period',
    'after_srcu_grace_period',
  ],
  'orders what x86 orders by itself; in the model it is no step, so nothing is known of it': [
    'smp_wmb',
    'smp_rmb',
    'smp_mb__after_atomic',
  ],
  'waits for a value that the protocol needs to go on, or for an end that the scenario wants to see':
    ['spin_until', 'join'],
  'exchanges a part of an entry; the function that exchanges the whole says what that protects': [
    'xchg_low',
  ],
  'says what its caller does, or that it may sleep: might_sleep() finds the mistake': [
    'non_block_start',
    'non_block_end',
    'kmalloc_GFP_KERNEL',
  ],
  'puts on a disk what is to be there, for those who are being protected': ['write_disk'],
  'somebody else, whom the protocol is there for': ['foreign_owner'],
};

const OPS = join(import.meta.dirname, '../../src/machine/ops');

function isFunction(value: unknown): value is AnyFn {
  return typeof value === 'function' && 'isLeaf' in value && 'title' in value;
}

test('every primitive is a protection, ends one, or says why it is none', async () => {
  const none: string[] = [];
  for (const file of readdirSync(OPS).sort()) {
    const module = (await import(join(OPS, file))) as Record<string, unknown>;
    for (const value of Object.values(module)) {
      if (!isFunction(value)) continue;
      const { protects, closes } = value.options;
      if (!protects && closes === undefined) none.push(value.title);
    }
  }
  expect(none.sort()).toEqual(Object.values(NO_PROTECTION).flat().sort());
});
