import type { ActorSet } from './actor-set.ts';
import type { Run } from './run.ts';
import type { SearchHooks, Strategy } from './search.ts';

/** Plain enumeration: every interleaving. What every reduction is compared with; for small programs only. */
export class Plain implements Strategy {
  private readonly run: Run;
  private readonly hooks: SearchHooks;
  /** Per node: enabled actors not yet tried; null before the node is entered. */
  private readonly open: (ActorSet | null)[] = [];

  constructor(run: Run, hooks: SearchHooks) {
    this.run = run;
    this.hooks = hooks;
  }

  next(): number {
    const { depth } = this.run;
    let open = this.open[depth];
    if (!open) {
      open = this.open[depth] = this.run.enabledActors();
      if (open.isEmpty()) this.hooks.ended();
    }
    const actor = open.next(0);
    if (actor < 0) this.open[depth] = null;
    else open.delete(actor);
    return actor;
  }

  executed(): boolean {
    this.hooks.executed();
    return true;
  }

  retract(): void {
    // plain enumeration remembers nothing about a step
  }

  progress(): null {
    return null;
  }
}
