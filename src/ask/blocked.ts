import type { Run } from '../explore/run.ts';
import type { TrieNode } from '../machine/coroutine.ts';
import { TASK, isOut, taskMayRun, type Cpu } from '../machine/cpu.ts';
import type { Actor } from '../machine/actor.ts';
import type { Cell } from '../machine/cells.ts';
import type { Blocker } from '../machine/op.ts';

/**
 * Why an actor cannot go on, told from the state of the machine and from nothing else: whom its pending step
 * waits for, since which step of the run that is so, and what they wait for in turn.
 */
export interface BlockedBy {
  /** Sentences: first what the actor waits for, then why that does not happen. */
  readonly sentences: readonly string[];
  /** CPUs on which something has to happen, and actors that have to do something. */
  readonly cpus: ReadonlySet<number>;
  readonly actors: ReadonlySet<number>;
}

/** `nameOf`: how a reader calls a step of the run (from 0). */
export function explainBlocked(
  run: Run,
  actor: number,
  nameOf: (step: number) => string,
): BlockedBy {
  const explainer = new Explainer(run, nameOf);
  explainer.about(actor);
  return explainer;
}

class Explainer implements BlockedBy {
  readonly sentences: string[] = [];
  readonly cpus: Set<number> = new Set();
  readonly actors: Set<number> = new Set();
  /** Whose wait has been told: in a deadlock they wait in a circle. */
  private readonly told: Set<number> = new Set();
  private readonly run: Run;
  private readonly nameOf: (step: number) => string;

  constructor(run: Run, nameOf: (step: number) => string) {
    this.run = run;
    this.nameOf = nameOf;
  }

  about(actor: number): void {
    const { run } = this;
    const node = run.nodes[actor];
    if (this.told.has(actor) || !node?.op || !run.isAlive(actor) || run.enabled(actor)) return;
    this.told.add(actor);
    this.actors.add(actor);
    const { machine, now } = run;
    const who = machine.actor(actor);
    const { def, args } = node.op;
    const waits = def.guard !== undefined && !def.guard(now, machine, who, args);
    if (!waits) {
      this.paused(who);
      return;
    }
    const blockers = def.blockers?.(machine, who, args) ?? [];
    const what = this.waitsFor(node, who, blockers);
    this.say(`${titleOf(who)} ${who.kind === 'irq' ? 'is pending' : `waits for ${what}`}`);
    for (const blocker of blockers) this.blocker(blocker);
  }

  private waitsFor(node: TrieNode, who: Actor, blockers: readonly Blocker[]): string {
    const { machine } = this.run;
    const { def, args } = node.op as NonNullable<TrieNode['op']>;
    const what = def.waitsFor?.(machine, who, args) ?? `${def.name}()`;
    const holders = blockers.flatMap((each) => {
      if (each.holds === 'atomic') return [machine.cpu(each.cpu).name];
      const inside = each.holds === 'section' || each.holds === 'srcu section';
      return inside ? [titleOf(machine.actor(each.actor))] : [];
    });
    if (holders.length === 0) return what;
    const verb = holders.length === 1 ? 'holds' : 'hold';
    return `${what.replace(/, held up by .*/, '')}, which ${holders.join(' and ')} ${verb} up`;
  }

  private blocker(blocker: Blocker): void {
    const { machine } = this.run;
    switch (blocker.holds) {
      case 'end':
        this.about(blocker.actor);
        return;
      case 'interrupts':
        this.interrupts(machine.cpu(blocker.cpu));
        return;
      case 'atomic':
        this.atomic(machine.cpu(blocker.cpu));
        return;
      case 'section':
      case 'srcu section':
      case 'lock':
        this.holder(blocker);
        return;
    }
  }

  /** Who holds a lock, or is inside a read-side section. */
  private holder(blocker: Extract<Blocker, { holds: 'lock' | 'section' | 'srcu section' }>): void {
    const { machine } = this.run;
    const { actor } = blocker;
    const who = machine.actor(actor);
    const name = titleOf(who);
    if (blocker.holds === 'lock') this.say(`${name} holds it${this.since(blocker.cell)}`);
    else if (blocker.holds === 'srcu section') {
      this.say(`${name} is in a section of ${blocker.domain}${this.since(blocker.cell)}`);
    } else {
      const since = this.since(machine.cellsOf(actor).rcuNesting, 0);
      this.say(`${name} is in an RCU read-side section${since}`);
    }
    this.actors.add(actor);
    if (who.cpu < 0) return;
    const cpu = machine.cpu(who.cpu);
    this.cpus.add(cpu.index);
    this.off(cpu);
    if (!this.run.enabled(actor)) this.about(actor);
  }

  /** Why a CPU takes no interrupt. */
  private interrupts(cpu: Cpu): void {
    const { now, machine } = this.run;
    this.cpus.add(cpu.index);
    if (now.get(cpu.irqOff) !== 0) {
      this.say(`${cpu.name} has had IRQs off${this.since(cpu.irqOff, 0)}`);
    } else if (now.get(cpu.run) !== TASK) {
      this.say(`${cpu.name} is in ${titleOf(machine.actor(now.get(cpu.run) - 1))}`);
    }
    this.off(cpu);
  }

  /** Why a CPU has not been quiescent. */
  private atomic(cpu: Cpu): void {
    const { now } = this.run;
    this.cpus.add(cpu.index);
    if (now.get(cpu.irqOff) !== 0) {
      this.say(`${cpu.name} has had IRQs off${this.since(cpu.irqOff, 0)}`);
    } else if (now.get(cpu.atomic) > 0) {
      this.say(`${cpu.name} has had preemption off${this.since(cpu.atomic, 0)}`);
    }
    this.off(cpu);
  }

  private off(cpu: Cpu): void {
    if (isOut(this.run.now, cpu)) this.say(`${cpu.name} is not running${this.since(cpu.out, 0)}`);
  }

  /** A task that could go on, had it its CPU. */
  private paused(who: Actor): void {
    const { now, machine } = this.run;
    const cpu = machine.cpus[who.cpu];
    if (!cpu) {
      this.say(`${titleOf(who)} waits for what it has stored to reach memory`);
      return;
    }
    this.cpus.add(cpu.index);
    if (isOut(now, cpu)) this.off(cpu);
    else if (now.get(cpu.run) !== TASK) this.interrupts(cpu);
    else if (!taskMayRun(now, cpu, who.index, who.shared)) {
      this.say(`${cpu.name} runs ${titleOf(machine.actor(now.get(cpu.task) - 1))}`);
    } else this.say(`${titleOf(who)} waits for what ${cpu.name} has stored to reach memory`);
  }

  /** The step that has made the cell what it is; `from`: the last one that found it with this value. */
  private since(cell: Cell, from?: number): string {
    const { cells } = this.run.machine;
    let at = cell < 0 ? -1 : (cells.lastWrite[cell] as number);
    while (from !== undefined && at >= 0 && cells.old[at] !== from)
      at = cells.prevWrite[at] as number;
    return at < 0 ? '' : ` since ${this.nameOf(cells.event[at] as number)}`;
  }

  private say(sentence: string): void {
    const whole = `${sentence}.`;
    if (!this.sentences.includes(whole)) this.sentences.push(whole);
  }
}

/** `the RCU callback tlb_remove_table_rcu()`, `<IPI: flush_tlb_func>`, `CPU0`. */
export function titleOf({ name, kind }: Actor): string {
  if (kind === 'softirq') return `the ${name.replace(/^(S?RCU) callback: /, '$1 callback ')}`;
  if (kind === 'irq') return `<${name}>`;
  return kind === 'host' || kind === 'buffer' ? `the ${name}` : name;
}
