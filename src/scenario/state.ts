import type { Run } from '../explore/run.ts';
import { TASK } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import { ALLOCATED, FOREIGN, FREE, PENDING, lifeState } from '../machine/memory.ts';
import { describeEntry } from '../machine/ops/entry-text.ts';
import { heldBy } from '../machine/ops/locks.ts';
import { srcuSections } from '../machine/ops/srcu.ts';
import type { Change } from './result.ts';

/** The machine's state in words, for people who step through a run. Only looks: nothing is recorded. */
export type Facts = ReadonlyMap<string, string>;

const LIVES: Readonly<Record<number, string>> = {
  [FREE]: 'free',
  [ALLOCATED]: 'in use',
  [PENDING]: 'waits for RCU',
  [FOREIGN]: "somebody else's",
};

export function factsOf(run: Run): Facts {
  const { machine } = run;
  const facts = new Map<string, string>();
  const locks = new Map<string, string>();
  for (const { index, name } of machine.actors) {
    for (const { word } of heldBy(machine, index)) {
      const others = locks.get(word.name);
      locks.set(word.name, others === undefined ? `held by ${name}` : `${others}, ${name}`);
    }
    const depth = machine.cells.peek(machine.cellsOf(index).rcuNesting);
    if (depth > 0)
      facts.set(`RCU section of ${name}`, depth === 1 ? 'open' : `open, ${depth} deep`);
    for (const domain of srcuSections(machine, index)) {
      facts.set(`section of ${domain} of ${name}`, 'open');
    }
  }
  addMemory(machine, facts, locks);
  addCpus(machine, facts);
  return facts;
}

function addMemory(
  machine: Machine,
  facts: Map<string, string>,
  locks: ReadonlyMap<string, string>,
): void {
  const { cells, memory } = machine;
  for (const { name, life } of memory.frames.slice(1)) {
    facts.set(name, LIVES[lifeState(cells.peek(life))] ?? '?');
  }
  for (const word of memory.everyWord()) {
    const entry = word.high !== 0;
    const value = entry
      ? describeEntry(machine, memory.peekWide(word), word)
      : memory.nameValue(word, cells.peek(word.cell));
    facts.set(word.name, locks.get(word.name) ?? value);
  }
}

function addCpus(machine: Machine, facts: Map<string, string>): void {
  const { cells, cpus, memory, translations } = machine;
  for (const cpu of cpus) {
    const runs = cells.peek(cpu.run);
    facts.set(`interrupts of ${cpu.name}`, cells.peek(cpu.irqOff) === 0 ? 'on' : 'off');
    if (cpu.virtual) facts.set(`host runs ${cpu.name}`, cells.peek(cpu.out) === 0 ? 'yes' : 'no');
    if (runs !== TASK) facts.set(`${cpu.name} is in`, machine.actor(runs - 1).name);
    const root = cells.peek(cpu.root);
    if (root !== 0) facts.set(`root of ${cpu.name}`, memory.info(root).name);
    facts.set(`${cpu.name} may have cached`, translations.cachedNames(cpu).join(', ') || 'nothing');
  }
}

/**
 * What the second has otherwise than the first, in its order. `none`: there is no such thing then; that there
 * is something new which is empty is no news.
 */
export function changes(before: Facts, after: Facts): Change[] {
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((what): Change[] => {
    const old = before.get(what) ?? 'none';
    const now = after.get(what) ?? 'none';
    const empty = !before.has(what) && (now === '0' || now === 'none' || now === 'free');
    return old === now || empty ? [] : [{ what, before: old, after: now }];
  });
}
