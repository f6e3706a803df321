import { waiting } from '../explore/ends.ts';
import type { Run } from '../explore/run.ts';
import type { TrieNode } from '../machine/coroutine.ts';
import type { Machine } from '../machine/machine.ts';
import type { Op } from '../machine/op.ts';
import type { Recorder } from './record.ts';
import type { Step, Stop } from './result.ts';

/**
 * Follows the schedule of one variant in another, by names: the same actor does the same op to the same
 * objects. What the other variant does in addition (a protection that was missing) is let in where it leads
 * to the step that is due; what it hands on (an interrupt handler, an RCU callback) counts as done by it.
 *
 * Where the due step cannot come, the reason is what the actor waits for, or what it does instead; then it is
 * let run on alone, to see what that leads to.
 */

/** More steps than this in addition are no longer the same schedule. */
const MOST_ADDED = 60;

/** How far the target gets; null: every step of the source can be done there, too. */
export function followRun(source: Recorder, target: Recorder): Stop | null {
  const follower = new Follower(source.run, target);
  for (let step = 0; step < source.run.depth; step++) {
    const path = follower.pathTo(step);
    if (path === null) return follower.stop(step, source.steps[step] as Step);
    for (const actor of path.slice(0, -1)) target.step(actor, 0);
    const doer = path.at(-1) as number;
    target.step(doer, Math.min(follower.outcome(step), target.run.outcomesOf(doer) - 1));
    follower.pair(step);
  }
  return null;
}

class Follower {
  private readonly source: Run;
  private readonly target: Recorder;
  /** Actors of the source and those of the target that stand for them. */
  private readonly pairs: Map<number, number> = new Map();

  constructor(source: Run, target: Recorder) {
    this.source = source;
    this.target = target;
    const there = target.run.created();
    for (const index of source.actors.map(({ actor }) => actor.index)) {
      const { name } = source.machine.actor(index);
      const found = there.find((other) => target.run.machine.actor(other).name === name);
      if (found !== undefined) this.pairs.set(index, found);
    }
  }

  /** Who takes which steps until the due one has been taken; null if that does not happen. */
  pathTo(step: number): number[] | null {
    const { run } = this.target;
    const due = this.nameOf(step);
    const path: number[] = [];
    const depth = run.depth;
    try {
      for (let added = 0; added <= MOST_ADDED; added++) {
        const candidates = this.candidates(step);
        const doer = candidates.find((actor) => pendingName(run, actor) === due);
        if (doer !== undefined && run.enabled(doer)) return [...path, doer];
        const next = candidates.find((actor) => run.enabled(actor));
        if (doer === candidates[0] || next === undefined) return null;
        path.push(next);
        run.execute(next, 0);
      }
      return null;
    } finally {
      while (run.depth > depth) run.undo();
    }
  }

  /** How the step went in the source. */
  outcome(step: number): number {
    return this.source.outcomeAt[step] as number;
  }

  /** Actors that the source's step created stand for those that the target's step created. */
  pair(step: number): void {
    const { run } = this.target;
    const made = [...(run.spawnedAt[run.depth - 1] ?? [])];
    for (const { actor } of this.source.spawnedAt[step] ?? []) {
      const at = made.findIndex((other) => other.actor.name === actor.name);
      const [found] = at < 0 ? [] : made.splice(at, 1);
      if (found) this.pairs.set(actor.index, found.actor.index);
    }
  }

  /** Who may do the step here: the same actor, and whoever works for it. */
  private candidates(step: number): number[] {
    const { run } = this.target;
    const first = this.counterpart(this.source.actorAt[step] as number);
    if (first === undefined) return [];
    const list = [first];
    for (const index of run.created()) {
      if (list.includes(run.machine.actor(index).creator)) list.push(index);
    }
    return list;
  }

  /** An actor whose maker did something else here may have been made all the same. */
  private counterpart(index: number): number | undefined {
    const paired = this.pairs.get(index);
    if (paired !== undefined) return paired;
    const { name, creator } = this.source.machine.actor(index);
    if (creator < 0) return undefined;
    const { run } = this.target;
    const taken = new Set(this.pairs.values());
    const same = run.created().find((other) => {
      const actor = run.machine.actor(other);
      return actor.creator >= 0 && actor.name === name && !taken.has(other);
    });
    return same ?? this.counterpart(creator);
  }

  private nameOf(step: number): string {
    const { op } = this.source.nodeBefore(step);
    return op ? opName(this.source.machine, op) : '';
  }

  /** Why the step cannot come, and what happens instead: the target takes those steps. */
  stop(step: number, due: Step): Stop {
    const { run } = this.target;
    const followed = this.target.steps.length;
    const [first] = this.candidates(step);
    const who = first === undefined ? due.actor : run.machine.actor(first).name;
    const where = { due, actor: who, followed, at: null };
    if (first === undefined) return { ...where, kind: 'absent', waitsFor: null, held: null };
    if (!run.isAlive(first)) return { ...where, kind: 'finished', waitsFor: null, held: null };
    const blocked = this.blockedBy(first);
    if (blocked !== null) {
      const { frame } = run.nodes[first] as TrieNode;
      const at = pendingName(run, first) === this.nameOf(step) ? null : (frame?.fn.title ?? null);
      return { ...where, at, kind: 'waits', waitsFor: blocked, held: null };
    }
    this.runOn(step);
    const held = this.candidates(step)
      .map((actor) => ({ actor, what: this.blockedBy(actor) }))
      .find(({ what }) => what !== null);
    const name = held ? run.machine.actor(held.actor).name : null;
    return {
      ...where,
      kind: 'instead',
      waitsFor: null,
      held: name === null ? null : { actor: name, waitsFor: held?.what ?? '' },
    };
  }

  private blockedBy(actor: number): string | null {
    const { run } = this.target;
    if (!run.isAlive(actor) || run.enabled(actor)) return null;
    const { name } = run.machine.actor(actor);
    return waiting(run).find((each) => each.name === name)?.what ?? null;
  }

  /** What it does instead: up to where somebody who works for it has to wait, or a single step. */
  private runOn(step: number): void {
    const { run } = this.target;
    const depth = run.depth;
    const path: number[] = [];
    let telling = 1;
    for (let added = 0; added <= MOST_ADDED; added++) {
      const next = this.candidates(step).find((actor) => run.enabled(actor));
      if (next === undefined) break;
      const stuck = this.stuck(step);
      path.push(next);
      run.execute(next, 0);
      if (this.stuck(step) > stuck) telling = path.length;
    }
    while (run.depth > depth) run.undo();
    for (const actor of path.slice(0, telling)) this.target.step(actor, 0);
  }

  private stuck(step: number): number {
    const { run } = this.target;
    return this.candidates(step).filter((actor) => run.isAlive(actor) && !run.enabled(actor))
      .length;
  }
}

function pendingName(run: Run, actor: number): string | null {
  if (!run.isAlive(actor)) return null;
  const { op } = run.nodes[actor] as TrieNode;
  return op ? opName(run.machine, op) : null;
}

/** What an op does, to what: the same in every variant, as objects have the same names in all of them. */
export function opName(machine: Machine, { def, args }: Op): string {
  return [def.name, ...args.flatMap((each) => objectName(machine, each))].join(' ');
}

function objectName(machine: Machine, value: unknown): string[] {
  if (typeof value === 'function') return 'title' in value ? [String(value.title)] : [];
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((each) => objectName(machine, each));
  if ('bits' in value) return [];
  if ('cell' in value && 'name' in value) return [String(value.name)];
  if (!('frame' in value) || typeof value.frame !== 'number') return [];
  const name = machine.memory.frames[value.frame]?.name ?? '';
  return ['index' in value ? `${name}[${String(value.index)}]` : name];
}
