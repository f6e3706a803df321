import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import type { Built } from './build.ts';
import type { Mistakes } from './compare.ts';

/** Deliberate mistakes, one for each way in which a dependence between steps can get lost. */
export interface PlantedMistake {
  readonly name: string;
  readonly mistakes: Mistakes;
  /** The feature whose programs show it. */
  readonly family: string;
  readonly model?: MemoryModel;
  /** Of the programs, if another one than usual finds it sooner. */
  readonly seed?: number;
  readonly programs: number;
}

/** Runs `act` so that what it reads is recorded nowhere. */
function unrecorded<T>(program: Built, act: () => T): T {
  const { cells } = program.machine;
  cells.get = cells.peek.bind(cells);
  try {
    return act();
  } finally {
    delete (cells as { get?: unknown }).get;
  }
}

/** Invalidating does not read the entries that the covered translations come from. */
function blindInvalidation(program: Built): void {
  const translations = program.machine.translations as unknown as {
    refillable: (...args: unknown[]) => boolean;
  };
  const refillable = translations.refillable.bind(translations);
  translations.refillable = (...args) => unrecorded(program, () => refillable(...args));
}

/** Turning interrupts on writes nothing that others see. */
function silentInterruptEnable(program: Built): void {
  const { cells, cpus } = program.machine;
  const begin = cells.begin.bind(cells);
  const set = cells.set.bind(cells);
  let enabling = false;
  cells.begin = (depth) => {
    enabling = false;
    begin(depth);
  };
  cells.set = (cell, value) => {
    if (value === 0 && cpus.some((cpu) => cell === cpu.irqOff)) enabling = true;
    const own = cpus.some((cpu) => [cpu.irqOff, cpu.atomic, cpu.quiescent].includes(cell));
    if (enabling && own) cells.poke(cell, value);
    else set(cell, value);
  };
}

/** A load that its own CPU's buffered store serves conflicts with nobody. */
function naiveForwarding(program: Built): void {
  const { buffers, cells } = program.machine;
  if (buffers === null) throw new Error('there is nothing to forward');
  const blind = { get: cells.peek.bind(cells) };
  const forwarded = buffers.forwarded.bind(buffers);
  buffers.forwarded = (_read, who, word) => forwarded(blind, who, word);
  const forwardedNumber = buffers.forwardedNumber.bind(buffers);
  buffers.forwardedNumber = (_read, who, word) => forwardedNumber(blind, who, word);
}

export const planted: readonly PlantedMistake[] = [
  {
    name: 'a conflict kind from an earlier state',
    mistakes: { engine: { staleKinds: true } },
    family: 'memory',
    programs: 300,
  },
  {
    name: 'no phantom races where a prefix is recognised as explored',
    mistakes: { engine: { noPhantomsAtSleepBlocked: true } },
    family: 'waiting',
    seed: 13,
    programs: 1500,
  },
  {
    name: 'no phantom races at all',
    mistakes: { engine: { noPhantoms: true } },
    family: 'waiting',
    programs: 300,
  },
  {
    name: "a check's reads left out of its step's footprint",
    mistakes: { peekingChecks: true },
    family: 'checks',
    programs: 100,
  },
  {
    name: 'an invalidation independent of entry stores',
    mistakes: { sabotage: blindInvalidation },
    family: 'tables',
    programs: 500,
  },
  {
    name: 'an interrupt-enable that nothing depends on',
    mistakes: { sabotage: silentInterruptEnable },
    family: 'interrupts',
    programs: 300,
  },
  {
    name: 'a state predicate evaluated only after writers of the words that it last read',
    mistakes: { asymmetricChecks: true },
    family: 'checks',
    seed: 44,
    programs: 300,
  },
  {
    name: 'outcomes of a step lost where the search comes back to a node',
    mistakes: { engine: { lostChoice: true } },
    family: 'choose',
    programs: 300,
  },
  {
    name: 'a forwarded load that conflicts with nobody',
    mistakes: { sabotage: naiveForwarding },
    family: 'barriers',
    model: 'tso',
    programs: 300,
  },
];
