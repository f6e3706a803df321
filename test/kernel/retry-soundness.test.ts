import { describe, expect, test } from 'vitest';
import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import { explore, type Engine } from '../../src/explore/explore.ts';
import { new_mm, new_page } from '../../src/kernel/boot.ts';
import { new_vm, sptep_at } from '../../src/kernel/virt/kvm/boot.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Page, Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { choose } from '../../src/machine/ops/control.ts';
import { guest_load, vm_enter, vm_exit } from '../../src/machine/ops/guest.ts';
import { spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, write_entry } from '../../src/machine/ops/memory.ts';
import { free_frame } from '../../src/machine/ops/pages.ts';
import { AGAIN, retry } from '../../src/machine/ops/retry.ts';
import { bug_on } from '../../src/machine/ops/secondary.ts';
import { STAGE } from '../../src/machine/stages.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { tasks } from '../zoo/tables.ts';

/** Loops that wait, and guests that come back, where an earlier form of the model was wrong. */
const machineOf = (model: 'sc' | 'tso' = 'sc'): Machine =>
  new Machine({
    arch: x86_64_descriptor,
    model,
    cpus: ['CPU0', 'CPU1', 'CPU2'].map((name) => ({ name, virtual: false })),
    sanitizers: all_sanitizers,
  });

type Words = Readonly<Record<'x' | 'y' | 'l', Word>>;
type Body = (w: Words) => Steps<unknown>;

function kinds(model: 'sc' | 'tso', ...bodies: Body[]): string[] {
  const machine = machineOf(model);
  const variable = (name: string): Word => machine.memory.variable(name);
  const w = { x: variable('x'), y: variable('y'), l: variable('l') };
  machine.cells.settle();
  const { violations } = explore(tasks(machine, ...bodies.map((body) => () => body(w))));
  return [...violations.values()].map(({ violation }) => violation.kind);
}

const until_y: (first: Body) => Body = (first) => (w) =>
  retry(function* () {
    yield* first(w);
    return (yield* READ_ONCE(w.y)) === 1 ? undefined : AGAIN;
  });

describe('a loop that waits', () => {
  test('stores again what somebody has taken back', () => {
    const looks_twice: Body = function* ({ x, y }) {
      if ((yield* READ_ONCE(x)) === 1) {
        yield* WRITE_ONCE(x, 0);
        yield* bug_on((yield* READ_ONCE(x)) === 1, 'x', 'set again');
      }
      yield* WRITE_ONCE(y, 1);
    };
    expect(
      kinds(
        'sc',
        until_y(({ x }) => WRITE_ONCE(x, 1)),
        looks_twice,
      ),
    ).toEqual(['property']);
  });

  test('hides no deadlock of others because it draws lots', () => {
    const both = (first: 'x' | 'l', second: 'x' | 'l'): Body =>
      function* (w) {
        yield* spin_lock(w[first]);
        yield* spin_lock(w[second]);
        yield* WRITE_ONCE(w.y, 1);
        yield* spin_unlock(w[second]);
        yield* spin_unlock(w[first]);
      };
    const draws = until_y(() => choose('lots', [false, true]));
    expect(kinds('sc', draws, both('x', 'l'), both('l', 'x'))).toEqual(['deadlock']);
  });

  test('sees that its own store is overwritten (tso)', () => {
    const asks: Body = function* ({ x, y }) {
      yield* WRITE_ONCE(x, 2);
      yield* WRITE_ONCE(y, 1);
      yield* retry(function* () {
        return (yield* READ_ONCE(x)) === 1 ? undefined : AGAIN;
      });
    };
    const answers: Body = function* (w) {
      yield* until_y(function* () {})(w);
      yield* WRITE_ONCE(w.x, 1);
    };
    expect(kinds('tso', asks, answers)).toEqual([]);
  });
});

function guest(mapped: boolean): {
  machine: Machine;
  walker: number;
  Y: Page;
  root: Page;
  maps: (page: Page) => Steps<void>;
  unlinks: () => Steps<void>;
} {
  const machine = machineOf();
  const [X, Y] = [new_page(machine, 'X', 1), new_page(machine, 'Y', 1)];
  const mm = new_mm(machine, 'mm', {}, { on: [], tables: [0] });
  const bits = (page: Page): bigint => machine.arch.leaf(STAGE, page.frame, { writable: true });
  const never = function* (): Steps<never> {
    throw new Error('not asked');
  };
  const tables = mapped ? { mapped: { 0: { page: X, bits: bits(X) } } } : { tables_for: [0] };
  const ops = { page_fault: never, unmap_gfn_range: never, age_gfn: never };
  const kvm = new_vm(machine, mm, 'kvm', ops, { vcpus: ['CPU0'], tables: 'ept', ...tables });
  machine.cells.settle();
  const sp = { frame: machine.memory.frameByName.get('sp')!, generation: 1 };
  const { memory } = machine;
  return {
    machine,
    walker: kvm.vcpus[0]!.walker,
    Y,
    root: kvm.root,
    maps: (page) => write_entry(sptep_at(kvm, sp, 0, 0), memory.entry(bits(page), 1, STAGE)),
    unlinks: () => write_entry(sptep_at(kvm, kvm.root, 1, 0), memory.entry(0n, 0, STAGE + 1)),
  };
}

describe('a guest', () => {
  test.each(['source', 'optimal'] as Engine[])('waits inside for an entry: %s', (engine) => {
    const { machine, walker, Y, root, maps } = guest(false);
    const waits = function* (): Steps<void> {
      yield* vm_enter(walker, root);
      yield* retry(function* () {
        return (yield* guest_load(walker, 0)) === null ? AGAIN : undefined;
      });
      yield* vm_exit(walker);
    };
    const program = tasks(machine, waits, () => maps(Y));
    expect(explore(program, { engine }).violations.size).toBe(0); // EngineFault: try_again is blocked
  });

  test('comes back with a walk cache of a table that was filled meanwhile', () => {
    const { machine, walker, Y, root, maps, unlinks } = guest(true);
    const alone = function* (): Steps<void> {
      yield* unlinks(); // and no flush
      yield* maps(Y);
      yield* vm_enter(walker, root);
      yield* free_frame(Y);
    };
    const { violations } = explore(tasks(machine, alone));
    expect([...violations.values()].map(({ violation }) => violation.kind)).toContain(
      'stale-translation',
    );
  });
});
