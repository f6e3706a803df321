import type { Run } from './run.ts';

/**
 * The one search loop: a depth-first walk over the tree of runs. Strategies answer its questions; none of
 * them copies it.
 */
export interface Strategy {
  /** Which actor takes the next step from here, or -1 if there is nothing (more) to try from here. */
  next(): number;
  /** A step was executed. `false`: do not go on from its result. */
  executed(): boolean;
  /** The last step is about to be taken back. `last`: no other outcome of it is left to try. */
  retract(last: boolean): void;
  /** Share of the search that may be done, from 0 to 1: an estimate; null if there is none. */
  progress(): number | null;
}

/** What a strategy tells whoever counts. */
export interface SearchHooks {
  /** A maximal run: nobody can take a step. `classOf` names its class, if the strategy knows classes. */
  ended(classOf?: () => number): void;
  /** A prefix all of whose continuations were explored before. */
  sleepBlocked(): void;
  executed(): void;
}

/** Ends a search early; a limit was hit or somebody pressed Ctrl-C. */
export class SearchStopped extends Error {}

/**
 * Walks everything that `strategy` asks for, from the node where the run stands; it is back there afterwards.
 * `outcome`: the first outcome to try of the steps that are taken there.
 */
export function search(run: Run, strategy: Strategy, outcome = 0): void {
  const bottom = run.depth;
  let descend = true;
  for (;;) {
    const actor = descend ? strategy.next() : -1;
    if (actor >= 0) {
      run.execute(actor, run.depth === bottom ? outcome : 0);
      descend = strategy.executed();
      continue;
    }
    if (run.depth === bottom) return;
    const step = run.depth - 1;
    const next = (run.outcomeAt[step] as number) + 1;
    const last = next >= (run.outcomesAt[step] as number);
    const who = run.actorAt[step] as number;
    strategy.retract(last);
    run.undo();
    descend = true;
    if (!last) {
      run.execute(who, next);
      descend = strategy.executed();
    }
  }
}
