import type { Machine } from '../../src/machine/machine.ts';
import { ALLOCATED, PAGE_SIZE, makeLife, type Entry, type Page } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import {
  flush_walker,
  guest_load,
  guest_store,
  vm_enter,
  vm_exit,
} from '../../src/machine/ops/guest.ts';
import { and_entry, cmpxchg_entry, read_entry, write_entry } from '../../src/machine/ops/memory.ts';
import { free_frame } from '../../src/machine/ops/pages.ts';
import { STAGE } from '../../src/machine/stages.ts';
import type { Family, Maker } from './families.ts';
import type { Random } from './random.ts';
import type { LockMode, Stmt } from './spec.ts';
import { WRITABLE } from './two-levels.ts';

/** Guests with tables of their own in generated programs: how statements are made up, and what they do. */

/** Entries of the second stage: the root's, and two of its leaf table. */
export type SpteTarget = 'none' | 'sp' | 'G' | 'H' | 'G read-only';

export type GuestStmt =
  | { readonly op: 'vm-enter' | 'vm-exit'; readonly guest: number }
  | {
      readonly op: 'guest-access';
      readonly guest: number;
      readonly gfn: number;
      readonly value: number | null;
    }
  | { readonly op: 'flush-walker'; readonly guest: number; readonly tables: boolean }
  | { readonly op: 'set-spte' | 'cas-spte'; readonly spte: number; readonly target: SpteTarget }
  | { readonly op: 'and-spte'; readonly spte: number; readonly mask: number }
  | { readonly op: 'free-guest-frame'; readonly frame: string };

const TARGETS: readonly SpteTarget[] = ['none', 'none', 'G', 'H', 'G read-only'];
const guest = (r: Random): number => r.of([0, 0, 1]);
const spte = (r: Random): number => r.below(3);
const target = (r: Random, at: number): SpteTarget =>
  at === 0 ? r.of(['none', 'sp']) : r.of(TARGETS);

const vmEnter: Maker = (r) => ({ op: 'vm-enter', guest: guest(r) });
const vmExit: Maker = (r) => ({ op: 'vm-exit', guest: guest(r) });
const access: Maker = (r) => ({
  op: 'guest-access',
  guest: guest(r),
  gfn: r.of([0, 0, 1]),
  value: r.chance(0.5) ? r.below(3) : null,
});
const flush: Maker = (r) => ({ op: 'flush-walker', guest: guest(r), tables: r.chance(0.7) });
const setSpte: Maker = (r) => {
  const at = spte(r);
  return { op: 'set-spte', spte: at, target: target(r, at) };
};
const casSpte: Maker = (r) => {
  const at = 1 + r.below(2);
  return { op: 'cas-spte', spte: at, target: target(r, at) };
};
const andSpte: Maker = (r) => ({ op: 'and-spte', spte: 1 + r.below(2), mask: r.of([6, WRITE, 1]) });
const free: Maker = (r) => ({ op: 'free-guest-frame', frame: r.of(['sp', 'G', 'H', 'G']) });
const WRITE = Number(WRITABLE);

export function guestFamily(others: {
  readonly read: Maker;
  readonly write: Maker;
  readonly locked: (modes: readonly LockMode[], ...inner: Maker[]) => Maker;
}): Family {
  return {
    walkers: true,
    locks: 2,
    actors: [2, 3],
    length: [1, 4],
    statements: [
      [4, vmEnter],
      [2, vmExit],
      [4, access],
      [3, flush],
      [4, setSpte],
      [3, casSpte],
      [1, andSpte],
      [3, free],
      [1, others.write],
      [1, others.read],
      [1, others.locked(['read', 'write'], setSpte, access)],
    ],
  };
}

/** The second stage of two guests that share a root. */
export class Guests {
  private readonly machine: Machine;
  private readonly walkers: readonly number[];

  constructor(machine: Machine) {
    this.machine = machine;
    this.provide('root', STAGE + 1);
    this.provide('sp', STAGE);
    for (const name of ['G', 'H']) this.provide(name, -1);
    this.store(0, 'sp');
    this.store(1, 'G');
    this.walkers = [0, 1].map((at) => machine.addWalker(`guest${at}`, 1).index);
  }

  private provide(name: string, level: number): void {
    const { memory, cells } = this.machine;
    const info = memory.frame(name);
    cells.set(info.life, makeLife(1, ALLOCATED));
    cells.set(info.level, level);
    memory.store(info.refcount, 1);
  }

  private page(name: string): Page {
    return this.machine.memory.page(this.machine.memory.frame(name).index, 1);
  }

  private place(spte: number) {
    const table = this.page(spte === 0 ? 'root' : 'sp');
    const address = table.frame * PAGE_SIZE + (spte === 2 ? 8 : 0);
    return this.machine.memory.at(address, table.generation);
  }

  private entry(spte: number, to: SpteTarget): Entry {
    const { arch, memory } = this.machine;
    const level = STAGE + (spte === 0 ? 1 : 0);
    if (to === 'none') return memory.entry(0n, 0, level);
    const { frame, generation } = this.page(to === 'G read-only' ? 'G' : to);
    const marks = to === 'sp' || to === 'G read-only' ? 0n : WRITABLE;
    return memory.entry(arch.table(level, frame) | marks, generation, level);
  }

  private store(spte: number, to: SpteTarget): void {
    this.machine.memory.storeWide(this.place(spte), this.entry(spte, to));
  }

  *step(stmt: GuestStmt, local: { number: number }): Steps<void> {
    switch (stmt.op) {
      case 'vm-enter':
        yield* vm_enter(this.walkers[stmt.guest] as number, this.page('root'));
        break;
      case 'vm-exit':
        yield* vm_exit(this.walkers[stmt.guest] as number);
        break;
      case 'guest-access': {
        const walker = this.walkers[stmt.guest] as number;
        const address = stmt.gfn * PAGE_SIZE;
        if (stmt.value === null) {
          const value = yield* guest_load(walker, address);
          local.number = value === null ? -1 : Number(value.bits);
        } else {
          const stored = yield* guest_store(walker, address, BigInt(stmt.value));
          local.number = stored ? 1 : 0;
        }
        break;
      }
      case 'flush-walker':
        yield* flush_walker(this.walkers[stmt.guest] as number, null, null, null, stmt.tables);
        break;
      case 'set-spte':
        yield* write_entry(this.place(stmt.spte), this.entry(stmt.spte, stmt.target));
        break;
      case 'cas-spte': {
        const old = yield* read_entry(this.place(stmt.spte));
        const value = this.entry(stmt.spte, stmt.target);
        local.number = (yield* cmpxchg_entry(this.place(stmt.spte), old, value)) ? 1 : 0;
        break;
      }
      case 'and-spte':
        yield* and_entry(this.place(stmt.spte), ~BigInt(stmt.mask));
        break;
      case 'free-guest-frame':
        yield* free_frame(this.page(stmt.frame));
        break;
    }
  }
}

export const GUEST_OPS: ReadonlySet<string> = new Set([
  ...['vm-enter', 'vm-exit', 'guest-access', 'flush-walker'],
  ...['set-spte', 'cas-spte', 'and-spte', 'free-guest-frame'],
]);

export function isGuestStmt(stmt: Stmt): stmt is GuestStmt {
  return GUEST_OPS.has(stmt.op);
}
