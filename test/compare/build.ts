import type { Program } from '../../src/explore/run.ts';
import { fn, type AnyFn } from '../../src/machine/fn.ts';
import { joined, type Stored } from '../../src/machine/halves.ts';
import { Machine } from '../../src/machine/machine.ts';
import {
  ALLOCATED,
  PAGE_SIZE,
  makeLife,
  type Entry,
  type Page,
  type Word,
} from '../../src/machine/memory.ts';
import { perform, type Steps } from '../../src/machine/op.ts';
import { assume, choose, bounded, join, spin_until } from '../../src/machine/ops/control.ts';
import * as halves from '../../src/machine/ops/halves.ts';
import { access_load, access_store } from '../../src/machine/ops/access.ts';
import { folio, lookup } from './folio.ts';
import { guest_root } from '../../src/machine/ops/guest-root.ts';
import { flush_guest_tlb, sched_out, vm_entry } from '../../src/machine/ops/host.ts';
import * as locks from '../../src/machine/ops/locks.ts';
import * as mem from '../../src/machine/ops/memory.ts';
import {
  allocate_frame,
  foreign_owner,
  free_frame,
  mark_pending,
  page_ref_put,
} from '../../src/machine/ops/pages.ts';
import * as processor from '../../src/machine/ops/processor.ts';
import { tree_call_rcu, tree_synchronize_rcu } from '../../src/kernel/kernel/rcu-tree.ts';
import type { SlabObject } from '../../src/machine/ops/slab.ts';
import { queue_callback, rcu_nest, wait_grace_period } from '../../src/machine/ops/rcu.ts';
import { smp_mb } from '../../src/machine/ops/store-buffer.ts';
import * as tlb from '../../src/machine/ops/tlb.ts';
import { write_disk } from '../../src/machine/ops/disk.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { age, flagsOf, keep } from './leaves.ts';
import { holds, observeOp, severalOp, store } from './ops.ts';
import { checksOf, type CheckMistakes } from './checks.ts';
import {
  ENTRIES,
  PAGES,
  TABLES,
  type LockMode,
  type Scope,
  type Spec,
  type Stmt,
  type Target,
  type Value,
} from './spec.ts';
import { Guests, isGuestStmt } from './guests.ts';
import { retryStep } from './retries.ts';
import { srcuStep } from './srcu.ts';
import { slabStep, slabs, type Slab } from './slabs.ts';
import { two_halves, two_levels } from './two-levels.ts';

export interface Built extends Program {
  readonly words?: readonly Word[];
  /** The `sometimes` conditions that were seen. */
  readonly seen: Set<string>;
}

/** What an actor has: the number, the entry and the page that it received last. */
interface Local {
  number: number;
  entry: Entry | null;
  page: Page | null;
  object: SlabObject<'a'> | null;
  readonly cleared: tlb.Promised[];
}

class World {
  readonly machine: Machine;
  readonly seen: Set<string> = new Set();
  readonly words: readonly Word[];
  private readonly locks: readonly Word[];
  private readonly pointers: readonly Word[];
  private readonly domains: readonly Word[];
  private readonly handlers: readonly AnyFn[];
  private readonly usesTables: boolean;
  private readonly slab: Slab | null;
  private readonly guests: Guests | null;

  constructor(spec: Spec) {
    this.machine = new Machine({
      arch: spec.split ? two_halves : two_levels,
      model: spec.model,
      cpus: spec.cpus.map(({ virtual }, at) => ({ name: `CPU${at}`, virtual })),
      sanitizers: all_sanitizers,
    });
    const { memory, cells } = this.machine;
    this.words = spec.words.map((value, at) => memory.variable(`w${at}`, value));
    this.locks = Array.from({ length: spec.locks }, (_, at) => memory.variable(`lock${at}`));
    this.pointers = Array.from({ length: spec.pointers }, (_, at) =>
      memory.at(memory.reserve(8), 0, `ptr${at}`),
    );
    this.domains = spec.srcu ? [0, 1].map((at) => memory.variable(`srcu${at}`)) : [];
    this.handlers = spec.handlers.map((body, at) => this.handler(body, at));
    this.usesTables = spec.mapped.length > 0 || spec.cpus.some(({ root }) => root !== null);
    this.machine.tracksLinks = true;
    cells.begin(0);
    this.guests = spec.walkers ? new Guests(this.machine) : null;
    this.slab = spec.slab ? slabs(this.machine, spec.slab.typesafe) : null;
    const named = new Set(spec.pointing.filter((name) => name !== null));
    if (this.usesTables) {
      for (const { name, level } of TABLES) this.provide(name, level);
      for (const name of PAGES) named.add(name);
    }
    for (const name of named) this.provide(name, -1);
    spec.pointing.forEach((name, at) => {
      if (name !== null) memory.storeWide(this.pointers[at]!, this.pointerTo(this.page(name)));
    });
    if (spec.keeps)
      keep(
        this.machine,
        this.page('R').frame,
        PAGES.map((name) => this.page(name)),
      );
    for (const [at, frame] of spec.mapped)
      memory.storeWide(this.entryWord(at), this.mapping(frame));
  }

  /** Loads the roots that CPUs begin with; the actors exist by now. */
  boot(spec: Spec): void {
    const { machine } = this;
    spec.cpus.forEach(({ root }, at) => {
      if (root === null) return;
      machine.translations.loadRoot(machine.actor(0), machine.cpu(at), this.page(root).frame, true);
    });
    machine.found.length = 0;
  }

  private provide(name: string, level: number): void {
    const { memory, cells } = this.machine;
    const info = memory.frame(name);
    const at = [...TABLES.map((table) => table.name), ...PAGES].indexOf(name);
    if (memory.halves && at >= 0) {
      memory.numbers.choose(info.index, (1 + (at >> 1)) * 2 ** 20 + (1 + (at & 1)) * 4096, name);
    }
    cells.set(info.life, makeLife(1, ALLOCATED));
    cells.set(info.level, level);
    memory.store(info.refcount, 1);
  }

  private page(name: string): Page {
    return this.machine.memory.page(this.machine.memory.frame(name).index, 1);
  }

  private pointerTo(page: Page): Entry {
    const bits = this.machine.arch.leaf(0, page.frame, { writable: true });
    return this.machine.memory.entry(bits, page.generation);
  }

  private mapping(frame: string): Entry {
    return this.pointerTo(this.page(frame));
  }

  private entryWord(at: number): Word {
    const [table, index] = ENTRIES[at]!;
    const { frame, generation } = this.page(table);
    return this.machine.memory.at(frame * PAGE_SIZE + index * 8, generation);
  }

  private target(target: Target): Entry {
    const { memory } = this.machine;
    if (target.to === 'none') return memory.entry(0n, 0);
    const { bits, generation } = this.mapping(target.frame);
    return memory.entry(bits | flagsOf(target), generation);
  }

  private handler(body: readonly Stmt[], at: number): AnyFn {
    const run = (): Steps<number> => this.body(body);
    const named = function* (): Steps<number> {
      return yield* run();
    };
    Object.defineProperty(named, 'name', { value: `handler${at}` }); // names tell functions apart
    return fn(named);
  }

  *body(stmts: readonly Stmt[]): Steps<number> {
    const local: Local = { number: 0, entry: null, page: null, object: null, cleared: [] };
    yield* this.block(stmts, local);
    return local.number;
  }

  private *block(stmts: readonly Stmt[], local: Local): Steps<void> {
    for (const stmt of stmts) yield* this.statement(stmt, local);
  }

  private value({ received, plus }: Value, local: Local): number {
    return received ? (Math.abs(local.number) + plus) % 4 : plus;
  }

  private scope(scope: Scope): [number | null, number | null, number | null, boolean] {
    const { memory } = this.machine;
    const root = scope.root === null ? null : memory.frame(scope.root).index;
    if (scope.entry === null) return [root, null, null, scope.tables];
    const [table, index] = ENTRIES[scope.entry]!;
    const step = table === 'R' || table === 'S' ? 2 ** 21 : 2 ** 12;
    return [root, index * step, (index + 1) * step, scope.tables];
  }

  private *statement(stmt: Stmt, local: Local): Steps<void> {
    const word = (at: number): Word => this.words[at]!;
    switch (stmt.op) {
      case 'read':
        local.number = yield* mem.READ_ONCE(word(stmt.word));
        break;
      case 'write':
        yield* mem.WRITE_ONCE(word(stmt.word), this.value(stmt.value, local));
        break;
      case 'xchg':
        local.number = yield* mem.xchg(word(stmt.word), this.value(stmt.value, local));
        break;
      case 'add':
        local.number = yield* mem.fetch_add(word(stmt.word), this.value(stmt.value, local));
        break;
      case 'cas': {
        const swapped = yield* mem.try_cmpxchg(
          word(stmt.word),
          stmt.old,
          this.value(stmt.value, local),
        );
        local.number = swapped ? 1 : 0;
        break;
      }
      case 'add-unless':
        local.number = (yield* mem.atomic_add_unless(word(stmt.word), 1, stmt.unless)) ? 1 : 0;
        break;
      case 'mb':
        yield* smp_mb();
        break;
      case 'if':
        yield* this.block(local.number % 2 !== 0 ? stmt.body : stmt.otherwise, local);
        break;
      case 'choose':
        local.number = yield* choose(
          'it',
          Array.from({ length: stmt.options }, (_, at) => at),
        );
        break;
      case 'assume-nonzero':
        yield* assume(local.number !== 0);
        break;
      case 'bound':
        for (const _ of bounded(1)) if (local.number !== 0) break;
        break;
      case 'lock':
        yield* this.locked(stmt.mode, this.locks[stmt.lock]!, stmt.body, local);
        break;
      case 'unlock':
        yield* locks.mutex_unlock(this.locks[stmt.lock]!);
        break;
      case 'wait':
        local.number = yield* spin_until(stmt.words.map(word), (...values) =>
          holds(
            stmt.condition,
            values.map((value) => () => value),
          ),
        );
        break;
      case 'join':
        yield* join(stmt.actor);
        break;
      case 'several':
        local.number = yield* perform(severalOp, [
          this.words,
          stmt.guard,
          stmt.outcomes,
          stmt.body,
          local.number,
        ]);
        break;
      case 'retry':
        local.number = 0;
        yield* retryStep(stmt, this.words, () => this.block(stmt.body, local));
        break;
      case 'observe':
        yield* perform(observeOp, [stmt.words.map(word), stmt.condition, stmt.as, this.seen]);
        break;
      default:
        yield* this.frames(stmt, local);
    }
  }

  private *locked(mode: LockMode, lock: Word, body: readonly Stmt[], local: Local): Steps<void> {
    if (mode === 'try') {
      if (!(yield* locks.spin_trylock(lock))) {
        local.number = 0;
        return;
      }
      yield* this.block(body, local);
      yield* locks.spin_unlock(lock);
      return;
    }
    const [take, drop] = {
      spin: [locks.spin_lock, locks.spin_unlock],
      mutex: [locks.mutex_lock, locks.mutex_unlock],
      read: [locks.down_read, locks.up_read],
      write: [locks.write_lock, locks.write_unlock],
    }[mode];
    yield* take!(lock);
    yield* this.block(body, local);
    yield* drop!(lock);
  }

  /** The word that a pointer leads to, or null if there is no pointer. */
  private pointee(local: Local): Word | null {
    const page = local.page ?? this.pageOf(local.entry);
    if (!page) return null;
    return this.machine.memory.at(page.frame * PAGE_SIZE, page.generation);
  }

  private pageOf(entry: Stored | null): Page | null {
    if (!entry || (entry.bits & 1n) === 0n) return null;
    const { frame } = this.machine.arch.decode(0, entry.bits);
    return this.machine.memory.page(frame, entry.generation);
  }

  private *frames(stmt: Stmt, local: Local): Steps<void> {
    const { memory } = this.machine;
    if (isGuestStmt(stmt)) {
      yield* this.guests!.step(stmt, local);
      return;
    }
    switch (stmt.op) {
      case 'alloc':
        local.page = yield* allocate_frame({ what: 'f', level: stmt.level, recycle: stmt.recycle });
        break;
      case 'publish':
        yield* mem.write_entry(
          this.pointers[stmt.pointer]!,
          local.page ? this.pointerTo(local.page) : memory.entry(0n, 0),
        );
        break;
      case 'fetch':
      case 'swap-pointer': {
        const pointer = this.pointers[stmt.pointer]!;
        const entry =
          stmt.op === 'fetch'
            ? yield* mem.read_entry(pointer)
            : yield* mem.xchg_entry(
                pointer,
                local.page ? this.pointerTo(local.page) : memory.entry(0n, 0),
              );
        local.page = this.pageOf(entry);
        local.number = local.page ? 1 : 0;
        break;
      }
      case 'deref-read': {
        const word = this.pointee(local);
        if (word) local.number = yield* mem.READ_ONCE(word);
        break;
      }
      case 'deref-write': {
        const word = this.pointee(local);
        if (word) yield* store(word, this.value(stmt.value, local), this.usesTables && memory);
        break;
      }
      case 'free':
        if (local.page) yield* free_frame(local.page);
        break;
      case 'free-named':
        yield* free_frame(this.page(stmt.frame));
        break;
      case 'pending':
        if (local.page) yield* mark_pending(local.page);
        break;
      case 'foreign':
        yield* foreign_owner(stmt.count);
        break;
      default:
        yield* this.processors(stmt, local);
    }
  }

  private *processors(stmt: Stmt, local: Local): Steps<void> {
    switch (stmt.op) {
      case 'irq-off': {
        const flags = yield* processor.local_irq_save();
        yield* this.block(stmt.body, local);
        yield* processor.local_irq_restore(flags);
        break;
      }
      case 'irq-save':
        local.number = yield* processor.local_irq_save();
        break;
      case 'preempt-off':
        yield* processor.preempt_disable();
        yield* this.block(stmt.body, local);
        yield* processor.preempt_enable();
        break;
      case 'ipi': {
        const handling = yield* processor.send_ipi(stmt.cpu, this.handlers[stmt.handler]!, []);
        if (stmt.wait) yield* processor.csd_lock_wait(handling);
        break;
      }
      case 'rcu':
        yield* rcu_nest(1);
        yield* this.block(stmt.body, local);
        yield* rcu_nest(-1);
        break;
      case 'rcu-unlock':
        yield* rcu_nest(-1);
        break;
      case 'call-rcu':
        yield* queue_callback(this.handlers[stmt.handler]!, [], undefined);
        break;
      case 'synchronize':
        yield* wait_grace_period();
        break;
      case 'tree-call-rcu':
        yield* tree_call_rcu(this.handlers[stmt.handler]!, []);
        break;
      case 'tree-synchronize':
        yield* tree_synchronize_rcu();
        break;
      case 'srcu':
      case 'srcu-lock':
      case 'srcu-unlock':
      case 'call-srcu':
      case 'synchronize-srcu':
        yield* srcuStep(stmt, this.domains, this.handlers, local, (body) =>
          this.block(body, local),
        );
        break;
      case 'slab-alloc':
      case 'slab-free':
      case 'slab-read':
      case 'slab-write':
        yield* slabStep(stmt, local, this.slab!, (value) => this.value(value, local));
        break;
      default:
        yield* this.translation(stmt, local);
    }
  }

  private *translation(stmt: Stmt, local: Local): Steps<void> {
    const { memory } = this.machine;
    switch (stmt.op) {
      case 'read-entry':
        local.entry = yield* mem.read_entry(this.entryWord(stmt.entry));
        local.number = local.entry.bits === 0n ? 0 : 1;
        break;
      case 'set-entry':
        yield* mem.write_entry(this.entryWord(stmt.entry), this.target(stmt.target));
        break;
      case 'map-page': {
        const entry = local.page ? this.pointerTo(local.page) : memory.entry(0n, 0);
        yield* mem.write_entry(this.entryWord(stmt.entry), entry);
        break;
      }
      case 'xchg-entry': {
        const [word, target] = [this.entryWord(stmt.entry), this.target(stmt.target)];
        if (!stmt.flush) local.entry = yield* mem.xchg_entry(word, target);
        else local.entry = yield* tlb.xchg_entry_flush(word, target, ...this.scope(stmt.flush));
        local.page = this.pageOf(local.entry);
        local.number = local.page ? 1 : 0;
        local.cleared.push(Object.freeze({ source: word.address, bits: local.entry.bits }));
        break;
      }
      case 'read-halves': {
        const place = this.entryWord(stmt.entry);
        const early = stmt.first === 'high' ? yield* halves.read_high(place) : null;
        const low = yield* halves.read_low(place);
        const high = early ?? (yield* halves.read_high(place));
        local.page = low.bits === 0 ? null : this.pageOf(joined(low.of, high.of));
        local.number = local.page ? 1 : 0;
        break;
      }
      case 'write-half': {
        const write = { low: halves.write_low, high: halves.write_high }[stmt.half];
        yield* write(this.entryWord(stmt.entry), this.target(stmt.target));
        break;
      }
      case 'xchg-low':
        yield* halves.xchg_low(this.entryWord(stmt.entry), this.target(stmt.target));
        break;
      case 'lookup': {
        const page = this.pageOf(yield* mem.read_entry(this.entryWord(stmt.entry)));
        yield* this.block(stmt.body, local);
        const root = memory.frame(stmt.root).index;
        local.page = yield* lookup(page, Object.freeze({ root, address: stmt.address }));
        break;
      }
      case 'folio': {
        const word = this.entryWord(stmt.entry);
        local.number = yield* folio(stmt.what, local.page ?? this.page('P'), word);
        break;
      }
      case 'put-ref':
        if (local.page) yield* page_ref_put(local.page);
        break;
      case 'invalidate':
        yield* tlb.invalidate_local(...this.scope(stmt.scope));
        break;
      case 'broadcast':
        yield* tlb.broadcast_issue(...this.scope(stmt.scope));
        yield* tlb.broadcast_complete(...this.scope(stmt.scope));
        break;
      case 'load-root': {
        const root = stmt.root === null ? 0 : memory.frame(stmt.root).index;
        yield* tlb.load_root(root, stmt.flush, stmt.tag);
        break;
      }
      case 'lazy':
        yield* tlb.set_lazy(stmt.on);
        break;
      case 'access': {
        const root = memory.frame(stmt.root).index;
        if (stmt.value) {
          const bits = BigInt(this.value(stmt.value, local));
          local.number = (yield* access_store(root, stmt.address, bits)) ? 1 : 0;
        } else {
          const loaded = yield* access_load(root, stmt.address);
          local.number = loaded ? Number(loaded.bits & 3n) : 0;
        }
        break;
      }
      case 'age':
        yield* age(this.machine, this.entryWord(stmt.entry));
        break;
      case 'write-disk':
        yield* write_disk(this.page(stmt.page), BigInt(local.number));
        break;
      case 'gone':
        yield* tlb.translations_gone([...local.cleared]);
        break;
      case 'sched-out':
        yield* sched_out(stmt.cpu);
        break;
      case 'flush-guest':
        yield* flush_guest_tlb(stmt.cpu);
        break;
      case 'guest-root':
        yield* guest_root(stmt.cpu);
        break;
      case 'vm-entry':
        yield* vm_entry(stmt.cpu);
        break;
      default:
        throw new Error(`no meaning for ${stmt.op}`);
    }
  }
}

/** A fresh machine with the program on it. */
export function build(spec: Spec, mistakes: CheckMistakes = {}): Built {
  const world = new World(spec);
  const { machine } = world;
  const actors = spec.actors.map(({ cpu, kind, shared, daemon, body }, at) => ({
    actor: machine.addActor({
      name: `A${at}`,
      column: `A${at}`,
      cpu,
      kind,
      daemon,
      shared,
      creator: -1,
    }),
    begin: () => world.body(body),
  }));
  world.boot(spec);
  const stepChecks = checksOf(machine, world.words, spec.checks, mistakes);
  return {
    machine,
    actors,
    patches: new Map(),
    traced: false,
    stepChecks,
    words: world.words,
    seen: world.seen,
  };
}
