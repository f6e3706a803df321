import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import type { Program } from '../../src/explore/run.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';

/** Small programs over plain words, each actor on a CPU of its own with every sanitizer watching. */
export interface ThreadProgram<W extends string> {
  /** Initial values of the words. */
  readonly words: Readonly<Record<W, number>>;
  /** One generator per thread; `main` threads may wait for others with `join`. */
  readonly threads: (word: Readonly<Record<W, Word>>) => readonly (() => Steps<unknown>)[];
}

/** The same program under x86-TSO. */
export function underTso(program: Program): Program {
  return build(sourceOf(program), 'tso');
}

const sources: WeakMap<Program, ThreadProgram<string>> = new WeakMap();

/** What `build` made a program from: for tests that make another one from it. */
export function sourceOf(program: Program): ThreadProgram<string> {
  const source = sources.get(program);
  if (!source) throw new Error('the program was not made by build()');
  return source;
}

const wordsByName: WeakMap<Program, Readonly<Record<string, Word>>> = new WeakMap();

/** The words of a program that `build` made. */
export function wordsOf(program: Program): Readonly<Record<string, Word>> {
  return wordsByName.get(program) ?? {};
}

export function build<W extends string>(
  program: ThreadProgram<W>,
  model: MemoryModel = 'sc',
): Program {
  const probe = program.threads({} as Readonly<Record<W, Word>>).length;
  const machine = new Machine({
    arch: x86_64_descriptor,
    model,
    cpus: Array.from({ length: probe }, (_, at) => ({ name: `CPU${at}`, virtual: false })),
    sanitizers: all_sanitizers,
  });
  const words = Object.fromEntries(
    Object.entries<number>(program.words).map(([name, value]) => [
      name,
      machine.memory.variable(name, value),
    ]),
  ) as Record<W, Word>;
  const actors = program.threads(words).map((begin, at) => ({
    actor: machine.addActor({
      name: `CPU${at}`,
      column: `CPU${at}`,
      cpu: at,
      kind: 'task',
      daemon: false,
      shared: false,
      creator: -1,
    }),
    begin,
  }));
  const built: Program = { machine, actors, patches: new Map(), traced: false, stepChecks: [] };
  sources.set(built, program);
  wordsByName.set(built, words);
  return built;
}
