import { Run, type Program, type Schedule } from '../explore/run.ts';
import { explainBlocked, titleOf } from './blocked.ts';
import type { Item, Pattern } from './pattern.ts';
import { nameOfSign, signsOf, type Sign } from './signs.ts';

/**
 * Why a question goes no further. A run that goes the longest way is followed, and then led on for as long as
 * somebody can take a step without taking a row of the question out of turn. Where that ends, whoever should
 * come next is blocked, or has nothing left to do; the machine's state says by whom. Then the run is led on in
 * any way, to see what ends the wait, and which rows of the question that takes out of turn.
 */
export interface Stuck {
  readonly because: readonly string[];
  /** The longest way, led on by those who should come next. */
  readonly schedule: Schedule;
  /** Its steps (from 0) that the reasons speak of. */
  readonly told: ReadonlySet<number>;
}

/** Steps that a run is led on at most: programs end by themselves long before. */
const MOST_STEPS = 5000;

export function whyStuck(
  { program, pattern }: { readonly program: Program; readonly pattern: Pattern },
  schedule: Schedule,
): Stuck {
  return new Follower(program, pattern).explain(schedule);
}

class Follower {
  private readonly run: Run;
  private readonly pattern: Pattern;
  /** What readers call the steps so far, and which of them did what an item asks for. */
  private readonly names: string[] = [];

  constructor(program: Program, pattern: Pattern) {
    this.run = new Run(program);
    this.pattern = pattern;
  }

  explain(schedule: Schedule): Stuck {
    const { run, pattern } = this;
    for (const [at, local] of schedule.actors.entries()) {
      this.step(run.created()[local] as number, schedule.outcomes[at] as number);
    }
    const item = pattern.items[pattern.straight] as Item;
    const before = this.doneBefore(item);
    const from = run.depth;
    this.goOn((actor) => run.machine.actor(actor).column === item.column);
    const shown = run.schedule();
    const early = this.outOfTurn(item);
    if (early === null) this.goOn(() => true);
    const because = this.targets(item).flatMap((target) => this.aboutTarget(target, item));
    const values = this.valuesInstead(item, from);
    const reasons = [early, values].filter((reason) => reason !== null);
    if (reasons.length + because.length === 0) because.push(...this.neverComes(item, before));
    return {
      because: [...reasons, ...because].map(capitalised),
      schedule: shown,
      told: this.told,
    };
  }

  /** Could the column go on if it did not take its rows in another order? Then it does, up to where it waits. */
  private outOfTurn(item: Item): string | null {
    const { run, pattern } = this;
    const isOwn = (index: number): boolean => run.machine.actor(index).column === item.column;
    const next = run.order.find((index) => isOwn(index) && run.enabled(index));
    if (next === undefined) return null;
    const signs = this.step(next, 0);
    const taken = pattern.items.find(
      (later, at) => at > pattern.seen && isOwn(next) && signs.some((sign) => later.matches(sign)),
    );
    for (let left = MOST_STEPS; left > 0; left--) {
      const actor = run.order.find((index) => isOwn(index) && run.enabled(index));
      if (actor === undefined || pattern.isComplete) break;
      this.step(actor, 0);
    }
    const title = taken ? `${taken.title} (row ${taken.row.n})` : 'a later row';
    return `${item.column} takes ${title} before it.`;
  }

  private step(actor: number, outcome: number): readonly Sign[] {
    const { run } = this;
    run.execute(actor, outcome);
    const signs = run.last ? signsOf(run.machine, run.last) : [];
    const does = signs.find(({ sign }) => sign === 'does');
    this.names[run.depth - 1] = does ? nameOfSign(does) : '';
    this.instead[run.depth - 1] = this.otherValue(actor, signs);
    return signs;
  }

  /** Per step: what it showed, if it resembles the item that is due but for that. */
  private readonly instead: (string | undefined)[] = [];

  private otherValue(actor: number, signs: readonly Sign[]): string | undefined {
    const item = this.pattern.items[this.pattern.seen];
    if (item?.column !== this.run.machine.actor(actor).column) return undefined;
    const other = signs.find((sign) => item.resembles(sign) && !item.matches(sign));
    return other?.sign === 'does' ? (other.comment ?? undefined) : undefined;
  }

  private readonly told: Set<number> = new Set();
  private readonly nameOf = (step: number): string => {
    this.told.add(step);
    return this.names[step] ?? '';
  };

  /** Leads the run on by these actors, as long as nobody takes a row out of turn. */
  private goOn(by: (actor: number) => boolean): void {
    const { run, pattern } = this;
    for (let left = MOST_STEPS; left > 0; left--) {
      const actor = run.order.find((index) => {
        if (!by(index) || !run.enabled(index)) return false;
        this.step(index, 0);
        if (!pattern.strayed) return true;
        run.undo();
        return false;
      });
      if (actor === undefined) return;
    }
  }

  /** Blocked actors that could take the step: those that have taken it in some run, else its column's. */
  private targets(item: Item): number[] {
    const { run, pattern } = this;
    const blocked = run.order.filter((index) => run.isAlive(index) && !run.enabled(index));
    const column = blocked.filter((index) => {
      const who = run.machine.actor(index);
      return who.column === item.column && !who.daemon && who.kind !== 'buffer';
    });
    const named = pattern.actors[pattern.items.indexOf(item)];
    const able = column.filter((index) => named?.has(run.machine.actor(index).name));
    return able.length > 0 ? able.slice(0, 1) : column.slice(0, 1);
  }

  private aboutTarget(target: number, item: Item): string[] {
    const { run } = this;
    const { sentences, cpus, actors } = explainBlocked(run, target, this.nameOf);
    const helpful = (index: number): boolean => {
      const who = run.machine.actor(index);
      const host = run.machine.cpus.some(
        ({ name, index: cpu }) => cpus.has(cpu) && name === who.column,
      );
      return host || cpus.has(who.cpu) || actors.has(index);
    };
    return [...sentences, ...this.release(target, item, helpful)];
  }

  /** What has to happen before the target can go on, and which rows that takes out of turn. */
  private release(target: number, item: Item, helpful: (actor: number) => boolean): string[] {
    const { run, pattern } = this;
    const from = run.depth;
    const early: string[] = [];
    for (let left = MOST_STEPS; left > 0 && !run.enabled(target); left--) {
      const ready = run.order.filter((index) => index !== target && run.enabled(index));
      // Handlers run as soon as they can.
      const handler = ready.find((index) => run.machine.actor(index).kind === 'irq');
      const actor = handler ?? ready.find(helpful) ?? ready[0];
      if (actor === undefined) break;
      const { column } = run.machine.actor(actor);
      const signs = this.step(actor, 0);
      for (const later of pattern.items.slice(pattern.items.indexOf(item) + 1)) {
        const title = `${later.title} (row ${later.row.n})`;
        if (later.column !== column || early.includes(title)) continue;
        if (signs.some((sign) => later.matches(sign))) early.push(title);
      }
    }
    const released = run.enabled(target);
    // A handler that has run is why, or a store that was seen; behind it is what somebody has done.
    let by = run.depth - 1;
    while (by > from && BY_ITSELF.has(run.machine.actor(run.actorAt[by] as number).kind)) by--;
    const last = this.names[by] ?? '';
    const took = run.depth > from;
    while (run.depth > from) run.undo();
    const who = titleOf(run.machine.actor(target));
    if (!released) return [`Nothing that can still happen lets ${who} go on.`];
    if (!took) return [];
    const others = early.filter((title) => !title.startsWith(`${last} (`));
    const after = others.length === 0 ? '' : `, and that comes after ${listed(others)}`;
    return [`It takes ${last}${after}.`];
  }

  /** Did some step before do what the item asks for? Then its place in the order is the question. */
  private doneBefore(item: Item): string | null {
    const { run, pattern } = this;
    const schedule = run.schedule();
    while (run.depth > 0) run.undo();
    let done: string | null = null;
    for (const [at, local] of schedule.actors.entries()) {
      const actor = run.created()[local] as number;
      const { column } = run.machine.actor(actor);
      const before = pattern.seen;
      const signs = this.step(actor, schedule.outcomes[at] as number);
      const isItem = item.column === null || item.column === column;
      if (!isItem || pattern.seen > before) continue;
      if (signs.some((sign) => item.matches(sign))) {
        const due = pattern.items[pattern.seen];
        done = due ? `${due.title} (row ${due.row.n})` : null;
      }
    }
    return done;
  }

  /** The step was there, and showed something else. */
  private valuesInstead(item: Item, from: number): string | null {
    const values = this.instead.slice(from).filter((value) => value !== undefined);
    const list = [...new Set(values)].map((value) => `'${value}'`).join(', ');
    return list === '' ? null : `Where it is due, ${item.title} shows ${list}.`;
  }

  private neverComes(item: Item, before: string | null): string[] {
    const { run } = this;
    const who = item.column ?? 'anybody';
    if (before !== null) return [`${who} does it before ${before}, and not again.`];
    const own = run.order.map((index) => run.machine.actor(index));
    const ended = own.filter(({ column, daemon }) => column === item.column && !daemon);
    const names = ended.map(titleOf).join(' and ');
    return [
      names === '' ? `${who} does nothing in this run.` : `${names} has nothing more to do then.`,
    ];
  }
}

/** Actors whose steps follow from what others have done. */
const BY_ITSELF: ReadonlySet<string> = new Set(['irq', 'buffer']);

function capitalised(sentence: string): string {
  return sentence.replace(/^the /, 'The ');
}

function listed(items: readonly string[]): string {
  const [last = '', ...rest] = [...items].reverse();
  return rest.length === 0 ? last : `${rest.reverse().join(', ')} and ${last}`;
}
