import { EngineFault, GracewalkError } from '../base/errors.ts';
import { endViolations, waiting } from '../explore/ends.ts';
import { Run, type Program, type Schedule } from '../explore/run.ts';
import { conflicts } from '../machine/cells.ts';
import type { Actor } from '../machine/actor.ts';
import { flushOp } from '../machine/ops/store-buffer.ts';
import { siteOf, type TrieNode } from '../machine/coroutine.ts';
import type { AnyFn, Frame } from '../machine/fn.ts';
import type { Violation, ViolationKind } from '../machine/violation.ts';
import type { Arrow, RunReport, Step, StepFrame, ViolationReport } from './result.ts';
import { holdUps } from './hold-ups.ts';
import { changes, factsOf, type Facts } from './state.ts';
import { decodeSchedule, encodeSchedule, hashNames, type ActorIdentity } from './token.ts';

/** Runs one schedule once more and writes down what happens: the list of steps that every view shows. */
export interface RecordOptions {
  /** Columns in scenario order. */
  readonly columns: readonly string[];
  readonly minimal: RunReport['minimal'];
  /** The kind of violation that the run is shown for; others in it are not marked. */
  readonly kind: ViolationKind | null;
  /** Which of the scenario's `always` is observed, if one is. */
  readonly observer: number;
}

export function recordRun(program: Program, schedule: Schedule, options: RecordOptions): RunReport {
  const recorder = new Recorder(program, options);
  schedule.actors.forEach((local, at) => recorder.follow(local, schedule.outcomes[at] as number));
  return recorder.report();
}

/** Follows a token's schedule; throws E601 where it no longer fits. */
export function replayRun(program: Program, text: string, options: RecordOptions): Recorder {
  const recorder = new Recorder(program, options);
  for (const segment of decodeSchedule(text)) recorder.segment(segment);
  return recorder;
}

/** Executes steps of a run and writes each down. */
export class Recorder {
  readonly run: Run;
  private readonly options: RecordOptions;
  readonly steps: Step[] = [];
  private readonly names: string[] = [];
  private violation: ViolationReport | null = null;
  private facts: Facts;
  /** With store buffers: which step has issued each entry of each buffer. */
  private readonly issuedBy: number[][] = [];

  constructor(program: Program, options: RecordOptions) {
    this.run = new Run(program);
    this.options = options;
    this.facts = factsOf(this.run);
  }

  private ofKind(kind: Actor['kind']): number[] {
    return this.run.created().filter((index) => this.run.machine.actor(index).kind === kind);
  }

  private readonly identity: ActorIdentity = (local) => {
    const index = this.run.created()[local] as number;
    const { kind } = this.run.machine.actor(index);
    const ordinal = kind === 'observer' ? this.options.observer : this.ofKind(kind).indexOf(index);
    return { kind, ordinal };
  };

  /** The step of the actor that is the `local`-th of this run. */
  follow(local: number, outcome: number): void {
    const index = this.run.created()[local];
    if (index === undefined || !this.run.enabled(index)) {
      throw new EngineFault(`the run found cannot be repeated (step ${this.steps.length + 1})`);
    }
    this.step(index, outcome);
  }

  segment(segment: ReturnType<typeof decodeSchedule>[number]): void {
    const { machine } = this.run;
    const first = this.steps.length;
    const same = this.ofKind(segment.kind);
    const actor = segment.kind === 'observer' ? same[0] : same[segment.ordinal];
    for (let at = 0; at < segment.count; at++) {
      this.refuseBlocked(actor);
      this.step(actor as number, at === segment.count - 1 ? segment.outcome : 0);
    }
    if (hashNames(this.names.slice(first)) !== segment.hash) {
      const { name } = machine.actor(actor as number);
      const last = this.steps.length;
      const which = last === first + 1 ? `step ${last}` : `steps ${first + 1} to ${last}`;
      throw diverged(
        `${which}: ${name} now does ${[...new Set(this.names.slice(first))].join(', ')}; the token's run did something else`,
      );
    }
  }

  private refuseBlocked(actor: number | undefined): void {
    const step = this.steps.length + 1;
    if (actor === undefined)
      throw diverged(`step ${step}: the actor that the token's run had does not exist`);
    const { name } = this.run.machine.actor(actor);
    if (!this.run.isAlive(actor)) throw diverged(`step ${step}: ${name} has already finished`);
    if (this.run.enabled(actor)) return;
    const reason = waiting(this.run).find((blocked) => blocked.name === name);
    throw diverged(
      `step ${step}: ${name} is blocked${reason ? `, it waits for ${reason.what}` : ''}`,
    );
  }

  step(actor: number, outcome: number): void {
    const { run } = this;
    const node = run.nodes[actor] as TrieNode;
    run.execute(actor, outcome);
    const outcomes = run.outcomesAt[run.depth - 1] as number;
    if (outcome >= outcomes) {
      throw diverged(
        `step ${run.depth}: the choice has ${outcomes} outcomes, the token's run took number ${outcome + 1}`,
      );
    }
    const before = this.facts;
    const arrows = this.arrows(actor, node);
    this.facts = factsOf(run);
    const buffered = this.noteIssued();
    const found = run.found.find((violation) => this.isShown(violation));
    if (found) this.violation ??= reported(found);
    this.names.push(node.op?.def.name ?? '');
    this.steps.push({
      ...this.describe(actor, node, found ? reported(found) : null),
      ...(buffered ? { buffered } : {}),
      ...this.flushed(node),
      ...(arrows.length > 0 ? { arrows } : {}),
      ...this.refusals(actor),
      changes: changes(before, this.facts),
    });
  }

  /** Has the step put something into a store buffer? */
  private noteIssued(): true | undefined {
    let noted: true | undefined;
    this.run.machine.buffers?.issuedSoFar().forEach((count, buffer) => {
      const by = (this.issuedBy[buffer] ??= []);
      for (; by.length < count; noted = true) by.push(this.steps.length + 1);
    });
    return noted;
  }

  private flushed(node: TrieNode): Pick<Step, 'flushes'> {
    if (node.op?.def !== flushOp) return {};
    const [buffer, at] = node.op.args as [number, number];
    const flushes = this.issuedBy[buffer]?.[at];
    return flushes === undefined ? {} : { flushes };
  }

  /** To the step just executed; `this.steps` does not have it yet. */
  private arrows(actor: number, node: TrieNode): Arrow[] {
    const { run } = this;
    const step = run.depth - 1;
    const born = run.bornAt[actor] as number;
    const list: Arrow[] = [];
    if (born >= 0 && !run.actorAt.slice(0, step).includes(actor)) {
      const kind = run.machine.actor(actor).kind === 'irq' ? 'interrupt' : 'callback';
      list.push({ from: born + 1, kind });
    }
    const awaited = node.op?.def.name === 'wait_ipi' ? (node.op.args[0] as number) : -1;
    const last = run.actorAt.slice(0, step).lastIndexOf(awaited);
    if (last >= 0) list.push({ from: last + 1, kind: 'acknowledgement' });
    const { flushes } = this.flushed(node);
    if (flushes !== undefined) list.push({ from: flushes, kind: 'store' });
    return list;
  }

  /** A call that was refused often takes no step of its own. */
  private refusals(actor: number): Pick<Step, 'refusals'> {
    const { returned } = this.run.nodes[actor] as TrieNode;
    const refusals = returned.flatMap(({ fn, value }) => {
      const { refusal } = (fn as AnyFn).options;
      return value === false && refusal !== undefined ? [refusal] : [];
    });
    return refusals.length > 0 ? { refusals } : {};
  }

  private isShown(violation: Violation): boolean {
    return this.options.kind === null || violation.kind === this.options.kind;
  }

  private describe(actor: number, node: TrieNode, violation: ViolationReport | null): Step {
    const { machine } = this.run;
    const who = machine.actor(actor);
    const op = node.op as NonNullable<TrieNode['op']>;
    const note = op.def.describe?.(machine, who, op.args, this.run.last?.value) ?? {};
    const own = node.frame?.fn.isLeaf ? node.frame : null;
    const site = siteOf(node) ?? null;
    return {
      n: this.steps.length + 1,
      actor: who.name,
      column: who.column,
      op: op.def.name,
      frames: framesOf(own ? own.up : node.frame),
      leaf: own ? { name: own.fn.title, address: own.fn.options.address ?? [] } : null,
      event: own?.fn.options.event ?? note.event ?? null,
      comment: note.comment ?? null,
      objects: this.touchedFrames(),
      meets: false,
      site,
      ghost: op.def.ghost === true || who.kind === 'observer',
      violation,
    };
  }

  /** Frames whose life, reference count or contents the step touched, and those its value leads to. */
  private touchedFrames(): string[] {
    const { cells, memory } = this.run.machine;
    const names = memory.frames
      .slice(1)
      .filter(
        (info) =>
          (cells.head[info.life] as number) >= cells.start ||
          (cells.head[info.refcount.cell] as number) >= cells.start,
      )
      .map(({ name }) => name);
    const value = this.run.last?.value;
    if (
      typeof value === 'object' &&
      value !== null &&
      'present' in value &&
      value.present === true
    ) {
      const target = memory.frames[(value as unknown as { frame: number }).frame];
      if (target) names.push(target.name);
    }
    return [...new Set(names)];
  }

  report(): RunReport {
    const { run, options } = this;
    const stuck = run.enabledActors().isEmpty();
    if (stuck && !this.violation) {
      const found = endViolations(run, run.ending()).find((violation) => this.isShown(violation));
      if (found) this.violation = reported(found);
    }
    this.judgeByTheEnd();
    const isStuck = this.violation?.kind === 'deadlock' || this.violation?.kind === 'livelock';
    const blocked = isStuck ? waiting(run) : [];
    const loops = blocked.flatMap(({ name, words }) =>
      words.length > 0 ? [{ actor: name, words }] : [],
    );
    const holding = isStuck ? holdUps(run, this.steps) : new Set<number>();
    const used = new Set(this.steps.filter(({ ghost }) => !ghost).map(({ column }) => column));
    return {
      columns: options.columns.filter((column) => used.has(column)),
      steps: this.steps.map((step, at) => ({
        ...step,
        meets: this.meets(at),
        ...(holding.has(at) ? { holdsUp: true as const } : {}),
      })),
      waiting: blocked.map(({ name, what }) => `${name} waits for ${what}`),
      ...(loops.length > 0 ? { retries: loops } : {}),
      violation: this.violation,
      switches: this.switches(),
      minimal: options.minimal,
      schedule: encodeSchedule(run.schedule(), this.names, this.identity),
    };
  }

  /** A token does not say what its run was for: it is what the last step shows, if that shows anything. */
  private judgeByTheEnd(): void {
    const last = this.steps.at(-1);
    if (this.options.kind !== null || !last?.violation) return;
    this.violation = last.violation;
    this.steps.forEach((step, at) => {
      if (step !== last) this.steps[at] = { ...step, violation: null };
    });
  }

  /** Does the step depend on one of another column, in either direction? Its accesses are still recorded. */
  private meets(step: number): boolean {
    const { actorAt, depth, machine, startAt } = this.run;
    const { cells } = machine;
    const columnAt = (at: number): string => machine.actor(actorAt[at] as number).column;
    const end = step + 1 < depth ? (startAt[step + 1] as number) : cells.top;
    for (let access = startAt[step] as number; access < end; access++) {
      let at = cells.head[cells.cell[access] as number] as number;
      for (; at >= 0; at = cells.prev[at] as number) {
        const other = cells.event[at] as number;
        if (columnAt(other) === columnAt(step)) continue;
        if (conflicts(cells.kind[at] as number, cells.kind[access] as number)) return true;
      }
    }
    return false;
  }

  private switches(): number {
    let count = 0;
    let column = '';
    for (const step of this.steps) {
      if (step.column === '' || step.column === column) continue;
      if (column !== '') count++;
      column = step.column;
    }
    return count;
  }
}

function framesOf(innermost: Frame | null): StepFrame[] {
  const frames: StepFrame[] = [];
  for (let frame = innermost; frame; frame = frame.up) {
    if (!frame.fn.options.hidden) frames.unshift({ name: frame.fn.title, call: frame.call });
  }
  return frames;
}

function reported({ kind, actor, object, message }: Violation): ViolationReport {
  return { kind, actor, object, message };
}

function diverged(note: string): GracewalkError {
  return new GracewalkError('E601', 'the token does not fit this version of the scenario', {
    notes: [note],
    help: 'run `check` again for a token of the present version',
  });
}
