import type { SourceLines } from '../scenario/result.ts';
import { sentence, shownSteps, type RunView, type ShownStep } from './run-view.ts';

/**
 * A run as Chrome's Trace Event JSON, which Perfetto (ui.perfetto.dev) opens: a process per CPU, in it a
 * thread per task, handler, callback and host; a slice per function and per step; arrows for interrupts,
 * acknowledgements, callbacks and stores that reach memory. Steps have no duration; each is drawn as long as
 * any other.
 */
export interface TraceEvent {
  readonly ph: 'M' | 'X' | 's' | 'f' | 'i';
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: number;
  readonly bp?: 'e';
  readonly s?: 'g';
  readonly args?: Readonly<Record<string, unknown>>;
}

const STEP = 10;
/** Between two steps of one thread there is a gap, or neighbours would look like one slice. */
const LENGTH = 8;

export function perfettoTrace(view: RunView, source: SourceLines): Record<string, unknown> {
  const steps = shownSteps(view.run, source);
  const tracks = new Tracks(steps, view.run.columns);
  return {
    displayTimeUnit: 'ns',
    otherData: { scenario: view.scenario, variant: view.variant, token: view.token },
    traceEvents: [
      ...tracks.names(),
      ...calls(steps, tracks),
      ...steps.flatMap((step) => [slice(step, tracks), ...violation(step, tracks, view)]),
      ...arrows(steps, tracks),
    ],
  };
}

/** Which process and thread each actor is. */
class Tracks {
  private readonly columns: string[];
  private readonly actors: string[] = [];

  constructor(steps: readonly ShownStep[], columns: readonly string[]) {
    this.columns = [...new Set([...columns, ...steps.map(({ column }) => column)])];
    for (const step of steps) {
      const key = actorKey(step);
      if (!this.actors.includes(key)) this.actors.push(key);
    }
  }

  of(step: ShownStep): { readonly pid: number; readonly tid: number } {
    return {
      pid: this.columns.indexOf(step.column) + 1,
      tid: this.actors.indexOf(actorKey(step)) + 1,
    };
  }

  names(): TraceEvent[] {
    const processes = this.columns.flatMap((name, at) => [
      { ph: 'M', name: 'process_name', pid: at + 1, tid: 0, ts: 0, args: { name } } as const,
      {
        ph: 'M',
        name: 'process_sort_index',
        pid: at + 1,
        tid: 0,
        ts: 0,
        args: { sort_index: at },
      } as const,
    ]);
    const threads = this.actors.map((key, at) => {
      const [column = '', name = ''] = key.split('\n');
      const pid = this.columns.indexOf(column) + 1;
      return { ph: 'M', name: 'thread_name', pid, tid: at + 1, ts: 0, args: { name } } as const;
    });
    return [...processes, ...threads];
  }
}

function actorKey({ column, actor }: ShownStep): string {
  return `${column}\n${actor}`;
}

function start({ n }: Pick<ShownStep, 'n'>): number {
  return (n - 1) * STEP;
}

/** A slice per activation of a function, from its first step to its last. */
function calls(steps: readonly ShownStep[], tracks: Tracks): TraceEvent[] {
  const found = new Map<string, { name: string; first: ShownStep; last: ShownStep }>();
  for (const step of steps) {
    for (const { name, call } of step.frames) {
      const key = `${actorKey(step)}\n${call}`;
      const known = found.get(key);
      if (known) known.last = step;
      else found.set(key, { name, first: step, last: step });
    }
  }
  return [...found.values()].map(({ name, first, last }) => ({
    ph: 'X',
    name: `${name}()`,
    cat: 'call',
    ...tracks.of(first),
    ts: start(first),
    dur: start(last) + LENGTH - start(first),
  }));
}

function slice(step: ShownStep, tracks: Tracks): TraceEvent {
  const { n, op, comment, changes = [], site, violation: found } = step;
  const state = changes.map(({ what, before, after }) => [what, `${before} -> ${after}`]);
  return {
    ph: 'X',
    name: step.text,
    cat: found ? 'violation' : 'step',
    ...tracks.of(step),
    ts: start(step),
    dur: LENGTH,
    args: {
      step: n,
      op,
      ...(comment === null ? {} : { value: comment }),
      ...(site
        ? { at: `${site.file.split('/').at(-1)?.replace(/\.js$/, '.ts')}:${site.line}` }
        : {}),
      ...Object.fromEntries(state as [string, string][]),
    },
  };
}

function violation(step: ShownStep, tracks: Tracks, { run }: RunView): TraceEvent[] {
  if (!step.violation) return [];
  const ts = start(step) + LENGTH / 2;
  return [{ ph: 'i', name: sentence(run), cat: 'violation', ...tracks.of(step), ts, s: 'g' }];
}

/** A flow begins inside the slice it comes from and ends inside the one it leads to. */
function arrows(steps: readonly ShownStep[], tracks: Tracks): TraceEvent[] {
  const byRow = new Map(steps.map((step) => [step.n, step]));
  let id = 0;
  return steps.flatMap((step) =>
    (step.arrows ?? []).flatMap(({ from, kind }): TraceEvent[] => {
      const source = byRow.get(from);
      if (!source) return [];
      const flow = { name: kind, cat: 'arrow', id: ++id } as const;
      return [
        { ph: 's', ...flow, ...tracks.of(source), ts: start(source) + LENGTH / 2 },
        { ph: 'f', bp: 'e', ...flow, ...tracks.of(step), ts: start(step) + LENGTH / 2 },
      ];
    }),
  );
}
