import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import { x86_pae_descriptor } from '../../src/arch/x86-pae.ts';
import type { Program } from '../../src/explore/run.ts';
import type { Actor } from '../../src/machine/actor.ts';
import { Machine } from '../../src/machine/machine.ts';
import {
  ALLOCATED,
  PAGE_SIZE,
  makeLife,
  type Entry,
  type EntryPointer,
  type Page,
} from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import type { Promised } from '../../src/machine/ops/tlb.ts';
import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';

/** A machine with one address space: pgd -> pud -> pmd -> pte -> X, everything at index 0. */
export interface Mapped {
  readonly machine: Machine;
  /** The tables by level: `tables[0]` is the leaf table. */
  readonly tables: readonly Page[];
  readonly X: Page;
  readonly root: number;
  /** Where the table of a level points to the next: `place(0)` maps X. */
  readonly place: (level: number) => EntryPointer;
  /** What that entry says at first. */
  readonly linked: (level: number) => Entry;
  /** An entry that says nothing. */
  readonly none: Entry;
  /** What a flush promises after `place(0)` was cleared. */
  readonly promised: readonly Promised[];
}

export interface MappedOptions {
  /** Names; those that begin with `v` are virtual. */
  readonly cpus: readonly string[];
  /** The CPUs that have the address space loaded; none by default. */
  readonly loaded?: readonly number[];
  readonly model?: MemoryModel;
  /** x86-32 PAE: entries of two halves, and X has the frame number 0x105000. */
  readonly pae?: boolean;
}

const nobody: Actor = {
  index: 0,
  name: 'setup',
  column: '',
  cpu: -1,
  kind: 'host',
  daemon: true,
  shared: false,
  creator: -1,
};

export function mapX({ cpus, loaded = [], model = 'sc', pae }: MappedOptions): Mapped {
  const machine = new Machine({
    arch: pae ? x86_pae_descriptor : x86_64_descriptor,
    model,
    cpus: cpus.map((name) => ({ name, virtual: name.startsWith('v') })),
    sanitizers: all_sanitizers,
  });
  const { arch, cells, memory, translations } = machine;
  const tables = arch.levels.map(({ name }, level) => newFrame(machine, name, level));
  const X = newFrame(machine, 'X', -1);
  if (pae) memory.numbers.choose(X.frame, 0x105000, 'X');
  const place = (level: number): EntryPointer => ({ ...tables[level]!, index: 0 });
  const linked = (level: number): Entry => {
    const below = level === 0 ? undefined : tables[level - 1];
    const bits = below ? arch.table(level, below.frame) : arch.leaf(0, X.frame, { writable: true });
    return memory.entry(bits, 1, level);
  };
  tables.forEach((_, level) => memory.storeWide(memory.resolve(place(level)), linked(level)));
  const root = tables.at(-1)!.frame;
  machine.objects.set('roots', [root]);
  for (const cpu of loaded) translations.loadRoot(nobody, machine.cpu(cpu), root, true);
  cells.settle();
  const promised = [{ source: tables[0]!.frame * PAGE_SIZE, bits: linked(0).bits }];
  return { machine, tables, X, root, place, linked, none: memory.entry(0n, 0, 0), promised };
}

function newFrame(machine: Machine, name: string, level: number): Page {
  const info = machine.memory.frame(name);
  machine.cells.values[info.life] = makeLife(1, ALLOCATED);
  machine.cells.values[info.level] = level;
  machine.cells.values[info.refcount.cell] = 1;
  return machine.memory.page(info.index, 1);
}

/** One task per CPU, in the order of the CPUs. */
export function tasks(machine: Machine, ...begins: readonly (() => Steps<unknown>)[]): Program {
  const actors = begins.map((begin, cpu) => {
    const { name } = machine.cpu(cpu);
    const actor = machine.addActor({
      ...nobody,
      name,
      column: name,
      cpu,
      kind: 'task',
      daemon: false,
    });
    return { actor, begin };
  });
  return { machine, actors, patches: new Map(), traced: false, stepChecks: [] };
}
