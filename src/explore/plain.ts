import type { Run } from './run.ts';
import type { SearchHooks, Strategy } from './search.ts';

/** Plain enumeration: every interleaving. What every reduction is compared with; for small programs only. */
export class Plain implements Strategy {
  private readonly run: Run;
  private readonly hooks: SearchHooks;
  /** Per node: enabled actors not yet tried; -1 before the node is entered. */
  private readonly open: number[] = [];

  constructor(run: Run, hooks: SearchHooks) {
    this.run = run;
    this.hooks = hooks;
  }

  next(): number {
    const { depth } = this.run;
    let open = this.open[depth] ?? -1;
    if (open === -1) {
      open = this.run.enabledMask();
      if (open === 0) this.hooks.ended();
    }
    if (open === 0) {
      this.open[depth] = -1;
      return -1;
    }
    this.open[depth] = open & (open - 1);
    return 31 - Math.clz32(open & -open);
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
