import { expect, test } from 'vitest';
import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import type { Program } from '../../src/explore/run.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Steps } from '../../src/machine/op.ts';
import { WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { new_page } from '../../src/kernel/boot.ts';
import { memcpy_to_page } from '../../src/kernel/mm/page-ref.ts';
import { copy_page, new_copy } from '../../src/kernel/virt/kvm/copy.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { found } from './found.ts';
import { tasks } from '../zoo/tables.ts';

/** One stores to a page and tells if it `tells`; another asks and copies. */
function program(tells: boolean): Program {
  const machine = new Machine({
    arch: x86_64_descriptor,
    cpus: ['CPU0', 'CPU1'].map((name) => ({ name, virtual: false })),
    sanitizers: all_sanitizers,
  });
  const X = new_page(machine, 'X', 1);
  const log = machine.memory.variable('log');
  const copy = new_copy(machine, 'copy', X, 0, [log]);
  machine.cells.settle();
  function* stores(): Steps<void> {
    yield* memcpy_to_page(X, 0, 7n);
    if (tells) yield* WRITE_ONCE(log, 1);
  }
  return tasks(machine, stores, () => copy_page(copy));
}

test('a store after the copy that nothing tells of', () => {
  expect(found(program(false))).toEqual([
    'lost-dirty: X[0] has changed since it was copied to copy, and log does not tell.',
  ]);
});

test('one that is told of, and one before the copy', () => {
  expect(found(program(true))).toEqual([]);
});
