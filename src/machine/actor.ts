/**
 * Who can take steps. Indices are dense and stable over a whole exploration; dynamic actors (interrupt
 * handlers, RCU callbacks) are identified by who created them and as their how-manieth, so that the same
 * actor is recognised in every order.
 */
export interface Actor {
  readonly index: number;
  /** As in the scenario (`CPU0`, `vCPU1`, `CPU0/khugepaged`), or what a dynamic actor is (`IPI: flush_tlb_func`). */
  readonly name: string;
  /** The diagram column that its steps appear in; a context switch is a change of column. */
  readonly column: string;
  /** The CPU whose interrupt state it runs under, or -1 for an actor that no CPU executes (host, RCU). */
  readonly cpu: number;
  readonly kind: 'task' | 'irq' | 'softirq' | 'host' | 'observer' | 'buffer';
  /** A daemon may be left waiting at the end of a run. */
  readonly daemon: boolean;
  /** Several tasks share its CPU: they are scheduled, not parallel. */
  readonly shared: boolean;
  readonly creator: number;
}

/** What became of an actor: the value of its status cell. */
export const RUNNING = 0;
export const FINISHED = 1;
/** It committed a violation after which its own steps mean nothing; the others run on. */
export const STOPPED = 2;
/** It assumed something that does not hold here: the run is outside the question. */
export const ASSUMED = 3;
/** It ran into the bound of a `bounded` loop: nothing is known beyond. */
export const BOUNDED = 4;
