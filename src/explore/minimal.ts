import type { TrieNode } from '../machine/coroutine.ts';
import type { Violation } from '../machine/violation.ts';
import type { ActorSet } from './actor-set.ts';
import { endViolations } from './ends.ts';
import { Run, type Program, type Schedule } from './run.ts';
import { SearchStopped, search, type Strategy } from './search.ts';

/**
 * The minimal counterexample: fewest context switches, then fewest steps.
 *
 * A context-bounded search (Qadeer and Rehof, TACAS 2005; Musuvathi and Qadeer, PLDI 2007): all runs with 0
 * switches, then with 1, and so on, without any reduction, remembering states. A switch is a change of
 * diagram column. The number of steps to a state is a function of the state (it is the sum of the actors'
 * progress), so a state reached again with as many switches leads to nothing new. Ties are broken by the
 * order of the search, which is the order of the actors: the same run on every machine.
 *
 * Only this search may say "complete up to k switches".
 */
export interface MinimalRun {
  readonly schedule: Schedule;
  readonly switches: number;
  /** Null: it was looked for because it reaches the goal. */
  readonly violation: Violation | null;
}

export interface MinimalResult {
  readonly run: MinimalRun | null;
  /** All runs with up to this many switches were tried without finding anything. */
  readonly completeSwitches: number;
  /** False if the limit on states ended the search. */
  readonly finished: boolean;
  readonly states: number;
}

export interface MinimalOptions {
  readonly wanted: (violation: Violation) => boolean;
  /** Asked after every step: is this what is looked for, or does it lead nowhere? A function of the state. */
  readonly judge?: (run: Run) => 'goal' | 'hopeless' | null;
  readonly maxSwitches: number;
  readonly maxStates: number;
  /** Polled with the number of states so far. */
  readonly shouldStop?: (states: number) => boolean;
}

export function minimalRun(program: Program, options: MinimalOptions): MinimalResult {
  const run = new Run(program);
  let states = 0;
  for (let bound = 0; bound <= options.maxSwitches; bound++) {
    const strategy = new Bounded(run, bound, options, options.maxStates - states);
    let finished = true;
    try {
      search(run, strategy);
    } catch (error) {
      if (!(error instanceof SearchStopped)) throw error;
      finished = false;
    }
    states += strategy.states;
    if (!finished) return { run: strategy.best, completeSwitches: bound - 1, finished, states };
    if (strategy.best) return { run: strategy.best, completeSwitches: bound - 1, finished, states };
    if (!strategy.cut) return { run: null, completeSwitches: bound, finished, states };
  }
  return { run: null, completeSwitches: options.maxSwitches, finished: false, states };
}

class Bounded implements Strategy {
  best: MinimalRun | null = null;
  states = 0;
  /** Was any run left out because of the bound? */
  cut = false;
  private readonly run: Run;
  private readonly bound: number;
  private readonly options: MinimalOptions;
  private readonly room: number;
  /** Fewest switches with which each state was reached. */
  private readonly seen: Map<number, number> = new Map();
  /** Per depth: switches so far, column of the last step, actors still to try (null: not entered). */
  private readonly switches: number[] = [0];
  private readonly columns: string[] = [''];
  private readonly open: (ActorSet | null)[] = [];

  constructor(run: Run, bound: number, options: MinimalOptions, room: number) {
    this.run = run;
    this.bound = bound;
    this.options = options;
    this.room = room;
  }

  next(): number {
    const { run } = this;
    const depth = run.depth;
    const open = (this.open[depth] ??= this.enter(depth));
    while (!open.isEmpty()) {
      const actor = this.first(open, depth);
      open.delete(actor);
      if (this.cost(actor, depth) <= this.bound) return actor;
      this.cut = true;
    }
    this.open[depth] = null;
    return -1;
  }

  private enter(depth: number): ActorSet {
    const { run } = this;
    const enabled = run.enabledActors();
    if (enabled.isEmpty()) {
      for (const violation of endViolations(run, run.ending())) this.offer(violation, depth);
    }
    return enabled;
  }

  /** Going on in the same column comes first: it costs no switch. */
  private first(open: ActorSet, depth: number): number {
    for (let actor = open.next(0); actor >= 0; actor = open.next(actor + 1)) {
      if (this.cost(actor, depth) === this.switches[depth]) return actor;
    }
    return open.next(0);
  }

  private cost(actor: number, depth: number): number {
    const before = this.columns[depth] as string;
    const so = this.switches[depth] as number;
    const { column, kind } = this.run.machine.actor(actor);
    return before === '' || kind === 'observer' || before === column ? so : so + 1;
  }

  executed(): boolean {
    const { run } = this;
    const depth = run.depth;
    const actor = run.actorAt[depth - 1] as number;
    const { column, kind } = run.machine.actor(actor);
    this.switches[depth] = this.cost(actor, depth - 1);
    this.columns[depth] = kind === 'observer' ? (this.columns[depth - 1] as string) : column;
    this.open[depth] = null;
    for (const violation of run.found) this.offer(violation, depth);
    const judged = this.options.judge?.(run);
    if (judged === 'hopeless') return false;
    if (judged === 'goal') this.take(null, depth);
    if (this.best && this.best.schedule.actors.length <= depth) return false;
    const state = this.hash(this.columns[depth]);
    const switches = this.switches[depth];
    const before = this.seen.get(state);
    if (before !== undefined && before <= switches) return false;
    this.seen.set(state, switches);
    if (++this.states > this.room) throw new SearchStopped();
    if ((this.states & 1023) === 0 && this.options.shouldStop?.(this.states))
      throw new SearchStopped();
    return true;
  }

  retract(): void {
    // nothing is remembered about steps
  }

  progress(): null {
    return null;
  }

  private offer(violation: Violation, depth: number): void {
    if (this.options.wanted(violation)) this.take(violation, depth);
  }

  private take(violation: Violation | null, depth: number): void {
    if (this.best && this.best.schedule.actors.length <= depth) return;
    this.best = {
      schedule: this.run.schedule(),
      switches: this.switches[depth] as number,
      violation,
    };
  }

  /** 53 bits over the machine's cells, the actors' positions and the column. */
  private hash(column: string): number {
    const { values, count } = this.run.machine.cells;
    let low = 0x811c9dc5;
    let high = 0x1b873593;
    const mix = (index: number, value: number): void => {
      const a = Math.imul(index ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(value, 0xc2b2ae35);
      low ^= Math.imul(a ^ (a >>> 15), 0x2c1b3c6d);
      high ^= Math.imul(a ^ (a >>> 13), 0x297a2d39) ^ Math.imul(value ^ (index << 7), 0x165667b1);
    };
    for (let cell = 0; cell < count; cell++) {
      const value = values[cell] as number;
      if (value !== 0) mix(cell, value);
    }
    this.run.nodes.forEach((node: TrieNode | null, actor) => {
      if (node) mix(-1 - actor, node.id + 1);
    });
    for (let at = 0; at < column.length; at++) mix(-1000 - at, column.charCodeAt(at));
    low ^= low >>> 16;
    high ^= high >>> 15;
    return (low >>> 0) * 2 ** 21 + (high & 0x1fffff);
  }
}
