import { explore, type Engine, type ExploreOptions } from '../../src/explore/explore.ts';
import type { Run } from '../../src/explore/run.ts';
import { WRITE, conflicts } from '../../src/machine/cells.ts';
import type { Cpu } from '../../src/machine/cpu.ts';
import type { TrieNode } from '../../src/machine/coroutine.ts';
import type { Machine } from '../../src/machine/machine.ts';
import {
  FREE,
  STATIC_BASE,
  PAGE_SIZE,
  lifeGeneration,
  lifeState,
} from '../../src/machine/memory.ts';
import { srcuSections, type OpenSrcu } from '../../src/machine/ops/srcu.ts';
import type { Built } from './build.ts';

/**
 * What an exploration saw, in words that do not depend on the order of exploration: frames, dynamic actors
 * and interned sets get their numbers as they appear, so they are told by name here.
 */
export interface Outcomes {
  readonly runs: number;
  readonly sleepBlocked: number;
  /** A limit ended the exploration: nothing can be compared. */
  readonly stopped: string | null;
  /** Everything there is at the end of a run: memory, processors, actors with all they received. */
  readonly finals: ReadonlySet<string>;
  /** Kind, object and actor, with all that the actor had received. */
  readonly violations: ReadonlySet<string>;
  readonly deadlocks: ReadonlySet<string>;
  readonly sometimes: ReadonlySet<string>;
  /** What the product itself reports, except deadlocks, where it names the actors in order of appearance. */
  readonly reported: ReadonlySet<string>;
  /** Some step went in several ways: then a class may be explored more than once. */
  readonly branches: boolean;
  /** Equivalence classes of maximal runs: each step with the steps that happen before it. */
  readonly classes: ReadonlySet<string>;
  /** Two runs of one class that did not end alike: some step reads or writes unrecorded. */
  readonly disagreements: readonly string[];
}

interface WordCells {
  readonly name: string;
}

/** Numbers to names. */
class Names {
  private readonly machine: Machine;
  private readonly histories: WeakMap<TrieNode, string> = new WeakMap();
  private actorNames: string[] = [];

  constructor(machine: Machine) {
    this.machine = machine;
  }

  actor(index: number): string {
    if (this.actorNames.length !== this.machine.actors.length) this.actorNames = this.nameActors();
    return this.actorNames[index] ?? `actor ${index}`;
  }

  private nameActors(): string[] {
    const { byCreation } = this.machine as unknown as {
      byCreation: ReadonlyMap<string, { readonly index: number; readonly name: string }>;
    };
    const names = this.machine.actors.map(({ name }) => name);
    for (const [key, { index, name }] of byCreation) {
      const [creator, ordinal] = key.split('.');
      names[index] = `${names[Number(creator)]}>${ordinal} ${name}`;
    }
    return names;
  }

  frame(index: number): string {
    return this.machine.memory.frames[index]?.name ?? `frame ${index}`;
  }

  bits(bits: bigint): string {
    if (bits === 0n) return '0';
    const frame = this.machine.memory.halves
      ? this.machine.arch.decode(0, bits | 1n).frame
      : Number(bits >> 12n);
    return `${this.frame(frame)}+${bits & 4095n}`;
  }

  value(value: unknown, opName = ''): string {
    if (opName === 'round_ends') return ''; // cells have the numbers in which a search meets them
    if (Array.isArray(value)) return `[${value.map((item) => this.value(item)).join()}]`;
    if (typeof value === 'object' && value !== null) {
      if ('actor' in value && 'count' in value) {
        const section = value as OpenSrcu[number];
        return `${this.actor(section.actor)}/${section.index}/${section.count}`;
      }
      if ('half' in value && 'of' in value) {
        return `${String(value.half)} of ${this.value(value.of)}`;
      }
      if ('bits' in value && 'generation' in value) {
        return `${this.bits(value.bits as bigint)}@${String(value.generation)}`;
      }
      if ('frame' in value && 'generation' in value) {
        return `${this.frame(value.frame as number)}@${String(value.generation)}`;
      }
      return JSON.stringify(value);
    }
    if (opName === 'send_ipi') return this.actor(value as number);
    return String(value);
  }

  /** All that an actor has received up to `node`. */
  history(node: TrieNode): string {
    const { parent } = node;
    if (!parent) return '';
    let known = this.histories.get(node);
    if (known === undefined) {
      const name = parent.op?.def.name ?? '';
      known = `${this.history(parent)} ${name}=${this.value(node.received, name)}`;
      this.histories.set(node, known);
    }
    return known;
  }
}

function words(machine: Machine, names: Names): string[] {
  const { cells, memory } = machine;
  const { words: all } = memory as unknown as { words: ReadonlyMap<number, WordCells> };
  const parts: string[] = [];
  for (const [address, { name }] of all) {
    const frame = address < STATIC_BASE ? Math.floor(address / PAGE_SIZE) : -1;
    const generation = frame < 0 ? 0 : lifeGeneration(cells.peek(memory.info(frame).life));
    const word = memory.at(address, generation);
    let said: string;
    if (name.startsWith('lock')) {
      const holder = cells.peek(word.cell);
      said = holder > 0 ? names.actor(holder - 1) : String(holder);
    } else if (word.high === 0) said = String(cells.peek(word.cell));
    else {
      const entry = memory.peekWide(word);
      if (entry.bits < 4096n) said = String(entry.bits);
      else said = names.value(entry);
    }
    if (said !== '0') parts.push(`${name}=${said}`);
  }
  return parts.sort();
}

function frames(machine: Machine): string[] {
  const { cells, memory } = machine;
  const parts: string[] = [];
  for (const info of memory.frames.slice(1)) {
    const life = cells.peek(info.life);
    if (lifeGeneration(life) === 0 && lifeState(life) === FREE) continue; // other runs use it
    parts.push(
      `${info.name}:state ${lifeState(life)} generation ${lifeGeneration(life)} ` +
        `level ${cells.peek(info.level)} links ${cells.peek(info.links)}`,
    );
  }
  const free = memory.sets.at(cells.peek(memory.freeSet)).map((frame) => memory.info(frame).name);
  parts.sort();
  parts.push(`free ${cells.peek(memory.freeCount)}: ${free.sort().join()}`);
  return parts;
}

function processor({ cells }: Machine, names: Names, cpu: Cpu): string[] {
  const run = cells.peek(cpu.run);
  const task = cells.peek(cpu.task);
  return [
    `irqOff ${cells.peek(cpu.irqOff)}`,
    `run ${run === 0 ? 'task' : names.actor(run - 1)}`,
    `out ${cells.peek(cpu.out)}`,
    `task ${task === 0 ? 'none' : names.actor(task - 1)}`,
    `atomic ${cells.peek(cpu.atomic)}`,
    `quiescent ${cells.peek(cpu.quiescent)}`,
    `lazy ${cells.peek(cpu.lazy)}`,
  ];
}

function walkers(machine: Machine, names: Names): string[] {
  const { cells, translations } = machine;
  return machine.walkers.map((walker) => {
    const root = cells.peek(walker.root);
    const may: string[] = [];
    const { sets, items } = translations as unknown as {
      sets: { at: (id: number) => readonly number[] };
      items: { at: (id: number) => Readonly<Record<string, unknown>> };
    };
    for (const frame of sets.at(cells.peek(walker.tlbFrames))) {
      for (const id of sets.at(cells.peek(translations.slot(walker, frame)))) {
        const t = items.at(id);
        const source = t.source as number;
        may.push(
          `${names.frame(t.root as number)}:${names.frame(Math.floor(source / PAGE_SIZE))}[${(source % PAGE_SIZE) / 8}]->` +
            `${names.bits(t.bits as bigint)}/${String(t.generation)}${t.doomed ? ' doomed' : ''}@${String(t.base)}`,
        );
      }
    }
    const cpu = machine.cpus[walker.index];
    return [
      walker.name,
      ...(cpu ? processor(machine, names, cpu) : []),
      `root ${root === 0 ? 'none' : names.frame(root)}`,
      `may {${may.sort().join('; ')}}`,
    ].join(' ');
  });
}

function actors(run: Run, names: Names): string[] {
  const { cells } = run.machine;
  const parts: string[] = [];
  run.nodes.forEach((node, index) => {
    if (!node) return;
    const own = run.machine.cellsOf(index);
    const waits = run.isAlive(index) ? ` waits in ${node.op?.def.name}` : '';
    const said = [own.status, own.locks, own.rcuNesting, own.rcuEnded].map((at) => cells.peek(at));
    const all = [...said, ...srcuSections(run.machine, index)].join();
    parts.push(`${names.actor(index)}: ${all}${waits} received${names.history(node)}`);
  });
  return parts.sort();
}

/** The whole state, by name. */
export function state(run: Run): string {
  const names = namesOf(run.machine);
  return [
    words(run.machine, names).join(' '),
    ...frames(run.machine),
    ...walkers(run.machine, names),
    ...actors(run, names),
  ].join('\n');
}

const allNames: WeakMap<Machine, Names> = new WeakMap();

function namesOf(machine: Machine): Names {
  let names = allNames.get(machine);
  if (!names) allNames.set(machine, (names = new Names(machine)));
  return names;
}

/** Happens-before of the run in progress, from the recorded footprints alone. */
class Order {
  private readonly run: Run;
  private readonly rows: number[][] = [];
  private readonly sequence: number[] = [];
  private readonly keys: string[] = [];

  constructor(run: Run) {
    this.run = run;
  }

  stepped(): void {
    const { run } = this;
    const { cells } = run.machine;
    const step = run.depth - 1;
    const actor = run.actorAt[step]!;
    const row: number[] = [];
    const join = (other: number): void => {
      this.rows[other]!.forEach((value, at) => {
        if (value > (row[at] ?? 0)) row[at] = value;
      });
    };
    let previous = step - 1;
    while (previous >= 0 && run.actorAt[previous] !== actor) previous--;
    if (previous >= 0) join(previous);
    else if (run.bornAt[actor]! >= 0) join(run.bornAt[actor]!);
    for (let access = run.startAt[step]!; access < cells.top; access++) {
      const kind = cells.kind[access]!;
      for (let at = cells.prev[access]!; at >= 0; at = cells.prev[at]!) {
        const other = cells.kind[at]!;
        if (!conflicts(kind, other)) continue;
        join(cells.event[at]!);
        if (other === WRITE) break;
      }
    }
    const sequence = previous >= 0 ? this.sequence[previous]! + 1 : 1;
    row[actor] = sequence;
    for (let at = 0; at < row.length; at++) row[at] ??= 0;
    this.rows[step] = row;
    this.sequence[step] = sequence;
    this.keys[step] = `${actor}.${sequence}.${run.outcomeAt[step]}:${row.join()}`;
  }

  /** The class of the run so far, in the numbers of this exploration. */
  key(): string {
    return this.keys.slice(0, this.run.depth).sort().join(' ');
  }

  /** The same by name. */
  text(): string {
    const { run } = this;
    const names = namesOf(run.machine);
    const events: string[] = [];
    for (let step = 0; step < run.depth; step++) {
      const actor = run.actorAt[step]!;
      const after = this.rows[step]!.map((value, at) =>
        value > 0 ? `${names.actor(at)}.${value}` : '',
      ).filter((name) => name !== '');
      events.push(
        `${names.actor(actor)}.${this.sequence[step]} after {${after.sort().join('; ')}}`,
      );
    }
    return `${events.sort().join('\n')}\n${actors(run, names).join('\n')}`;
  }
}

export interface OutcomeOptions {
  readonly maxRuns: number;
  readonly mistakes?: ExploreOptions['mistakes'];
  readonly sizes?: ExploreOptions['sizes'];
}

/** Explores `program` to the end with one engine. */
export function outcomesOf(
  program: Built,
  engine: Engine,
  { maxRuns, mistakes, sizes }: OutcomeOptions,
): Outcomes {
  const finals = new Set<string>();
  const violations = new Set<string>();
  const deadlocks = new Set<string>();
  const classes = new Set<string>();
  const disagreements: string[] = [];
  let branches = false;
  /** In the numbers of this exploration, to keep the many repetitions cheap. */
  const knownFinals = new Map<string, string>();
  const knownClasses = new Map<string, string>();
  const violated: string[][] = [];
  let order: Order | null = null;
  const noteStep = (run: Run): void => {
    (order ??= new Order(run)).stepped();
    const step = run.depth - 1;
    if (run.outcomesAt[step]! > 1) branches = true;
    const here: string[] = [];
    violated[step] = here;
    if (run.found.length === 0) return;
    const names = namesOf(run.machine);
    const { who, before } = run.last!;
    for (const { kind, object, message } of run.found) {
      const what = `${kind} of ${object} by ${names.actor(who.index)}: ${message} received${names.history(before)}`;
      here.push(what);
      violations.add(what);
    }
  };
  const result = explore(program, {
    engine,
    maxRuns,
    ...(mistakes ? { mistakes } : {}),
    ...(sizes ? { sizes } : {}),
    began() {
      order = null;
      for (const found of [finals, violations, deadlocks, classes]) found.clear();
      knownFinals.clear();
      knownClasses.clear();
    },
    stepped: noteStep,
    led: noteStep,
    ended(run, ending) {
      const { cells } = run.machine;
      const found = violated.slice(0, run.depth).flat().sort().join('\n');
      const nodes = run.nodes.map((node) => (node ? node.id : '')).join();
      const rawFinal = `${cells.values.subarray(0, cells.count).join()}|${nodes}|${ending}|${found}`;
      let final = knownFinals.get(rawFinal);
      if (final === undefined) {
        final = `${ending}\n${state(run)}\n${found}`;
        knownFinals.set(rawFinal, final);
        finals.add(final);
        const waiting = run.nodes.flatMap((node, at) =>
          node && run.isAlive(at) && !run.machine.actor(at).daemon
            ? [
                `${namesOf(run.machine).actor(at)} in ${node.op?.def.name}${namesOf(run.machine).history(node)}`,
              ]
            : [],
        );
        if (waiting.length > 0) deadlocks.add(waiting.sort().join('\n'));
      }
      const rawClass = order ? order.key() : '';
      const before = knownClasses.get(rawClass);
      if (before === undefined) {
        knownClasses.set(rawClass, final);
        classes.add(order ? order.text() : '');
      } else if (before !== final && disagreements.length < 3) {
        disagreements.push(`one class, two ends:\n${difference(before, final)}`);
      }
    },
  });
  return {
    runs: result.runs + result.assumed + result.bounded,
    sleepBlocked: result.sleepBlocked,
    stopped: result.stopped,
    finals,
    violations,
    deadlocks,
    sometimes: program.seen,
    reported: new Set([...result.violations.keys()].filter((key) => !/^(dead|live)lock/.test(key))),
    branches,
    classes,
    disagreements,
  };
}

/** The lines in which two texts differ. */
export function difference(a: string, b: string): string {
  const left = a.split('\n');
  const right = b.split('\n');
  return [
    ...left.filter((line) => !right.includes(line)).map((line) => `  - ${line}`),
    ...right.filter((line) => !left.includes(line)).map((line) => `  + ${line}`),
  ].join('\n');
}
