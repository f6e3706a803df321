import { conflicts, type Cells } from '../machine/cells.ts';
import type { TrieNode } from '../machine/coroutine.ts';
import { ActorSet, emptyAt } from './actor-set.ts';
import type { Run } from './run.ts';

/**
 * Sleep sets (Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", LNCS 1032,
 * 1996, chapter 5).
 *
 * Guarantee: no two complete runs that are explored differ only in the order of independent steps.
 *
 * Mechanism: an actor whose step has been tried at a node goes to sleep for the node's other branches, and
 * sleeps on until somebody takes a step that depends on the one tried. A sleeper remembers what its step
 * touched; as long as nothing woke it, that is what it would touch now.
 */

/** What a step touched: of each access the cell and, in the low two bits, the kind. */
export type Footprint = readonly number[];

const KIND_BITS = 2;
const KIND_MASK = (1 << KIND_BITS) - 1;

/** The accesses from index `from` on, up to `to`. */
export function footprintOf(cells: Cells, from: number, to: number): number[] {
  const footprint: number[] = [];
  for (let at = from; at < to; at++) {
    footprint.push(((cells.cell[at] as number) << KIND_BITS) | (cells.kind[at] as number));
  }
  return footprint;
}

/** Do the two meet in a cell in a way that does not commute? */
export function meet(one: Footprint, other: Footprint): boolean {
  for (let at = 0; at < one.length; at++) {
    const access = one[at] as number;
    for (let against = 0; against < other.length; against++) {
      const second = other[against] as number;
      if (access >> KIND_BITS !== second >> KIND_BITS) continue;
      if (conflicts(access & KIND_MASK, second & KIND_MASK)) return true;
    }
  }
  return false;
}

export interface Sleeper {
  readonly actor: number;
  readonly footprint: Footprint;
}

const NOBODY: Sleeper[] = [];

/** Does a footprint meet what the step recorded from access `start` on touched? */
export function meets(run: Run, footprint: Footprint, start: number): boolean {
  const { cells } = run.machine;
  for (let at = 0; at < footprint.length; at++) {
    const touched = footprint[at] as number;
    const access = cells.head[touched >> KIND_BITS] as number;
    if (access < start) continue;
    if (conflicts(cells.kind[access] as number, touched & KIND_MASK)) return true;
  }
  return false;
}

export class SleepSets {
  /** Per node: who sleeps there. */
  readonly asleep: ActorSet[] = [new ActorSet()];
  readonly sleepers: Sleeper[][] = [[]];
  /** Per step: the sleepers that it woke. */
  readonly woken: Sleeper[][] = [];
  /** The steps that woke somebody, ascending; some at the end may have been taken back. */
  readonly wakers: number[] = [];
  /** Footprints of the outcomes of the actor being tried at each node, once it has more than one. */
  private readonly partial: (Footprint | null)[] = [];
  private readonly run: Run;
  /** What an op touched when it was executed first, by node and by step; only for a planted mistake. */
  private readonly firstOf: Map<TrieNode, Footprint> | null;
  private readonly firstAt: Footprint[] = [];

  /** `staleKinds`: a sleeper keeps only what it accessed first, a footprint that was right in another state. */
  constructor(run: Run, staleKinds = false) {
    this.run = run;
    this.firstOf = staleKinds ? new Map() : null;
  }

  isAsleep(node: number, actor: number): boolean {
    return (this.asleep[node] as ActorSet).has(actor);
  }

  /**
   * Puts actors to sleep at the present node that were tried there when it was explored elsewhere; given by
   * their places in `Run.order`.
   */
  tryElsewhere(tried: readonly number[]): void {
    const { run } = this;
    const node = run.depth;
    for (const [place, actor] of run.order.entries()) {
      if (!tried.includes(place)) continue;
      const footprint: number[] = [];
      run.probe(actor, run.nodes[actor] as TrieNode, () => {
        const { cells } = run.machine;
        footprint.push(...footprintOf(cells, cells.start, cells.top));
      });
      this.add(node, actor, footprint);
    }
  }

  private add(node: number, actor: number, footprint: Footprint): void {
    const list = this.sleepers[node] as Sleeper[];
    if (list === NOBODY) this.sleepers[node] = [{ actor, footprint }];
    else list.push({ actor, footprint });
    (this.asleep[node] as ActorSet).add(actor);
  }

  /** After `step`: sleepers whose step is independent of it sleep on. */
  executed(step: number): void {
    const { run } = this;
    const actor = run.actorAt[step] as number;
    const before = this.sleepers[step] as Sleeper[];
    let kept = NOBODY;
    let woken = NOBODY;
    const asleep = emptyAt(this.asleep, step + 1);
    for (let at = 0; at < before.length; at++) {
      const sleeper = before[at] as Sleeper;
      if (sleeper.actor === actor) continue;
      if (meets(run, sleeper.footprint, run.machine.cells.start)) {
        if (woken === NOBODY) woken = [];
        woken.push(sleeper);
        continue;
      }
      if (kept === NOBODY) kept = [];
      kept.push(sleeper);
      asleep.add(sleeper.actor);
    }
    this.woken[step] = woken;
    const { wakers } = this;
    while (wakers.length > 0 && (wakers[wakers.length - 1] as number) >= step) wakers.pop();
    if (woken !== NOBODY) wakers.push(step);
    this.sleepers[step + 1] = kept;
    this.partial[step + 1] = null;
    if (this.firstOf) this.rememberFirst(step);
  }

  private rememberFirst(step: number): void {
    const node = this.run.last?.before as TrieNode;
    const known = this.firstOf?.get(node) ?? this.touched(step);
    this.firstOf?.set(node, known);
    this.firstAt[step] = known;
  }

  /** The last step is about to be taken back and another outcome of it tried: remembers what this one touched. */
  nextOutcome(step: number): void {
    this.partial[step] = this.footprint(step);
  }

  /** The last step is about to be taken back for good: its actor sleeps while the node's other branches are tried. */
  putToSleep(step: number): void {
    const actor = this.run.actorAt[step] as number;
    this.add(step, actor, this.firstAt[step] ?? this.footprint(step));
    this.partial[step] = null;
  }

  /** What the last step touched, over all its outcomes so far. */
  private footprint(step: number): Footprint {
    const now = this.touched(step);
    const earlier = this.partial[step] ?? null;
    return earlier ? [...earlier, ...now] : now;
  }

  private touched(step: number): Footprint {
    const { cells } = this.run.machine;
    return footprintOf(cells, this.run.startAt[step] as number, cells.top);
  }
}
