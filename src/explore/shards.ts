import { Counter, addTo, nothingExplored, type Exploration, type Watchers } from './exploration.ts';
import { Run, type Program } from './run.ts';
import { SearchStopped, search } from './search.ts';
import { ShardFull, SourceSets, type PlantedMistakes } from './source-sets.ts';

/**
 * A search in parts that can be explored anywhere and in any order.
 *
 * Guarantee: counts, violations and the runs that show them are a function of the program alone. How many
 * threads there are, and who explores what, changes nothing.
 *
 * Mechanism: a *shard* is all runs that begin with a path and then with a step of one actor, except what its
 * sleepers say is explored elsewhere. Exploring it is a pure function of program and shard. It ends after a
 * fixed number of steps and hands back what is left: the branches still open on its stack, each a shard of
 * its own, and the races that ask for branches at nodes above it. Shards are taken in batches of a fixed size
 * and their answers are merged in the order of the batch, whoever was ready first. The youngest shards come
 * first, so that few are open at any moment.
 *
 * A sibling may sleep in a shard although its own shard is not finished: that somebody explores it is enough.
 */
export interface Shard {
  /** Empty: the whole search. */
  readonly path: readonly ShardStep[];
  /** Who takes the step after the path, and from which outcome on; -1 for the whole search. */
  readonly actor: number;
  readonly outcome: number;
  /** Who was tried at the path's end before. */
  readonly tried: readonly number[];
}

/** Actors have the numbers of `Run.created`, here and in all else that shards and their answers say. */
export interface ShardStep {
  readonly actor: number;
  readonly outcome: number;
  /** Who was tried at this node before. */
  readonly tried: readonly number[];
}

/** A node on the stack of a shard that was left unfinished. */
export interface Frame {
  /** The step below which the shard was left. */
  readonly actor: number;
  readonly outcome: number;
  /** The first outcome of it that was not tried, or -1. */
  readonly nextOutcome: number;
  /** Who slept here before anybody was tried, who was tried before the step, who is still to be tried. */
  readonly asleep: readonly number[];
  readonly tried: readonly number[];
  readonly open: readonly number[];
}

/** A race with a step on the shard's path: at that node, one of the initials must be tried. */
export interface Request {
  readonly node: number;
  readonly initials: readonly number[];
  /** The one that suggests itself. */
  readonly first: number;
}

export interface ShardResult {
  readonly found: Exploration;
  readonly requests: readonly Request[];
  /** Empty: the shard was explored to its end. */
  readonly rest: readonly Frame[];
  /** Share of the shard that was explored, an estimate. */
  readonly share: number;
}

export interface ShardSizes {
  /** Steps after which a search is shared out, and after which a shard hands back the rest. */
  readonly first: number;
  readonly each: number;
  /** Shards that are explored at the same time. */
  readonly batch: number;
}

export const SHARD_SIZES: ShardSizes = { first: 40_000, each: 20_000, batch: 32 };

export interface ShardBounds {
  readonly runs: number;
  readonly steps: number;
  /** As in `Bounds`; `share` is how much of the shard may be done. */
  readonly watch?: ((soFar: Exploration, share: number) => string | null) | undefined;
}

/** Explores shards of one program, one after the other. */
export class ShardRunner {
  readonly run: Run;
  private readonly watchers: Watchers;
  private readonly sizes: ShardSizes;
  private readonly mistakes: PlantedMistakes;

  constructor(
    program: Program,
    watchers: Watchers,
    sizes: ShardSizes = SHARD_SIZES,
    mistakes: PlantedMistakes = {},
  ) {
    this.run = new Run(program);
    this.watchers = watchers;
    this.sizes = sizes;
    this.mistakes = mistakes;
  }

  explore(shard: Shard, bounds: ShardBounds): ShardResult {
    const { run, watchers, sizes, mistakes } = this;
    const whole = shard.actor < 0;
    const counter: Counter = new Counter(
      run,
      watchers,
      { ...bounds, watch: (found) => bounds.watch?.(found, strategy.progress()) ?? null },
      whole,
    );
    const steps = whole ? sizes.first : sizes.each;
    const strategy: SourceSets = new SourceSets(
      run,
      counter,
      mistakes,
      () => counter.found.steps >= steps,
    );
    let rest: readonly Frame[] = [];
    let share = 1;
    try {
      if (!whole) strategy.begin(shard, () => watchers.led?.(run));
      search(run, strategy, shard.outcome);
    } catch (error) {
      if (error instanceof ShardFull) {
        rest = strategy.frames();
        share = strategy.progress();
      } else if (!(error instanceof SearchStopped)) throw error;
    }
    while (run.depth > 0) run.undo();
    return { found: counter.found, requests: strategy.requests, rest, share };
  }
}

/** A node that shards begin at or below. */
interface OpenNode {
  readonly depth: number;
  readonly parent: OpenNode | null;
  /** What leads here from the parent. */
  readonly step: ShardStep | null;
  readonly asleep: readonly number[];
  tried: readonly number[];
}

interface Task {
  readonly node: OpenNode;
  readonly shard: Shard;
  /** Share of the whole search. */
  readonly weight: number;
}

const WHOLE: Shard = { path: [], actor: -1, outcome: 0, tried: [] };

function pathTo(node: OpenNode): ShardStep[] {
  const path: ShardStep[] = [];
  for (let at: OpenNode | null = node; at?.step; at = at.parent) path.push(at.step);
  return path.reverse();
}

/**
 * Explores a batch of shards, some of them perhaps elsewhere; `here` explores one in this thread, `soFar` is
 * what was explored before the batch. Results in the order of the batch; fewer only if a limit ended the last of them.
 */
export type BatchRunner = (
  shards: readonly Shard[],
  here: (shard: Shard) => ShardResult,
  soFar: Exploration,
) => ShardResult[];

/** One after the other, in this thread. */
export const inThisThread: BatchRunner = (shards, here) => {
  const results: ShardResult[] = [];
  for (const shard of shards) {
    const result = here(shard);
    results.push(result);
    if (result.found.stopped !== null) break;
  }
  return results;
};

export class ShardedSearch {
  readonly sum: Exploration = nothingExplored();
  /** Share of the search that is done: an estimate. */
  share = 0;
  private readonly tasks: Task[] = [];
  private readonly size: number;

  constructor(sizes: ShardSizes = SHARD_SIZES) {
    this.size = sizes.batch;
  }

  /** `here` explores a shard in this thread; what is shared out goes through `batch`. */
  explore(here: (shard: Shard) => ShardResult, batch: BatchRunner = inThisThread): void {
    const root: OpenNode = { depth: 0, parent: null, step: null, asleep: [], tried: [] };
    this.tasks.push({ node: root, shard: WHOLE, weight: 1 });
    while (this.tasks.length > 0) {
      const taken = this.tasks.splice(-this.size).reverse();
      const shards = taken.map(({ shard }) => shard);
      const results = (taken.length > 1 ? batch : inThisThread)(shards, here, this.sum);
      for (const [at, result] of results.entries()) {
        addTo(this.sum, result.found);
        if (this.sum.stopped !== null) return;
        this.merge(taken[at] as Task, result);
      }
    }
  }

  private merge({ node, shard, weight }: Task, result: ShardResult): void {
    const before = this.tasks.length;
    this.share += weight * result.share;
    for (const request of result.requests) this.grant(node, request);
    let at = node;
    for (const [depth, frame] of result.rest.entries()) {
      const inherited = depth === 0 && shard.actor >= 0;
      const tried = inherited ? shard.tried : frame.tried;
      if (frame.nextOutcome >= 0) this.push(at, frame.actor, frame.nextOutcome, tried);
      if (!inherited) {
        at.tried = [...tried, frame.actor];
        this.tryAll(at, frame.open);
      }
      const step = { actor: frame.actor, outcome: frame.outcome, tried };
      const asleep = result.rest[depth + 1]?.asleep ?? [];
      at = { depth: at.depth + 1, parent: at, step, asleep, tried: [] };
    }
    const left = (weight * (1 - result.share)) / Math.max(1, this.tasks.length - before);
    for (let task = before; task < this.tasks.length; task++) {
      this.tasks[task] = { ...(this.tasks[task] as Task), weight: left };
    }
  }

  private grant(below: OpenNode, { node: depth, initials, first }: Request): void {
    let node = below;
    while (node.depth > depth && node.parent) node = node.parent;
    const covered = [...node.tried, ...node.asleep];
    if (!initials.some((actor) => covered.includes(actor))) this.tryAll(node, [first]);
  }

  private tryAll(node: OpenNode, actors: readonly number[]): void {
    for (const actor of actors) {
      this.push(node, actor, 0, node.tried);
      node.tried = [...node.tried, actor];
    }
  }

  private push(node: OpenNode, actor: number, outcome: number, tried: readonly number[]): void {
    this.tasks.push({ node, shard: { path: pathTo(node), actor, outcome, tried }, weight: 0 });
  }
}
