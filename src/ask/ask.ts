import type { Exploration } from '../explore/exploration.ts';
import type { Schedule } from '../explore/run.ts';
import { VIOLATION_KINDS, type ViolationKind } from '../machine/violation.ts';
import type { CheckOptions, Limits } from '../scenario/check.ts';
import { assumptions, columnsOf, variantFingerprint } from '../scenario/facts.ts';
import {
  buildVariant,
  definitionOf,
  type Observation,
  type VariantDefinition,
} from '../scenario/program.ts';
import { recordRun } from '../scenario/record.ts';
import type { LimitHit, RunReport } from '../scenario/result.ts';
import type { Scenario } from '../scenario/scenario.ts';
import { formatToken } from '../scenario/token.ts';
import { GracewalkError } from '../base/errors.ts';
import type { Diagram } from './diagram.ts';
import { violationAskedFor, type Item, type Pattern } from './pattern.ts';
import type { Question } from './question.ts';
import type { AskResult, Completions, StopsAt } from './result.ts';
import {
  askedVariant,
  hunt,
  seenOnce,
  stepsAskedFor,
  survey,
  type Asking,
  type Survey,
} from './search.ts';
import { whyStuck } from './stuck.ts';
import { understand } from './understand.ts';
import { waitsIn } from './waits.ts';

export interface AskOptions extends Pick<
  CheckOptions,
  'limits' | 'onProgress' | 'shouldStop' | 'now' | 'heapUsed'
> {
  /** How messages call the question. */
  readonly title: string;
  /** Functions of the library that take no step (see `names.ts`). */
  readonly plainCalls: ReadonlySet<string>;
  readonly fixTypos: boolean;
  readonly expected?: 'reachable' | 'unreachable' | undefined;
  /** Ask only whether the order is possible, not what becomes of it. */
  readonly onlyReach?: boolean;
}

/** Rows of the question that match no step (E501), in one variant. */
export class QuestionRefused extends Error {
  readonly errors: readonly GracewalkError[];

  constructor(errors: readonly GracewalkError[]) {
    super('the question matches no step');
    this.errors = errors;
  }
}

/** Is this order of steps possible in the variant, and can a run that has it violate anything? */
export function askVariant(
  scenario: Scenario,
  variant: string,
  diagram: Diagram,
  options: AskOptions,
): AskResult {
  return new Ask(scenario, variant, diagram, options).result();
}

/** Of a hunt for the shortest run. */
const MOST_STATES = 2_000_000;
const MOST_SWITCHES = 12;

class Ask {
  private readonly scenario: Scenario;
  private readonly variant: string;
  private readonly diagram: Diagram;
  private readonly options: AskOptions;
  private readonly definition: VariantDefinition;
  private readonly started: number;
  private asking: Asking;
  private limit: LimitHit | null = null;
  private runs = 0;
  private steps = 0;

  constructor(scenario: Scenario, variant: string, diagram: Diagram, options: AskOptions) {
    this.scenario = scenario;
    this.variant = variant;
    this.diagram = diagram;
    this.options = options;
    this.definition = definitionOf(scenario, variant);
    this.asking = { scenario, variant, items: [], once: [] };
    this.started = options.now();
  }

  result(): AskResult {
    const question = this.question();
    if (question.errors.length > 0) throw new QuestionRefused(question.errors);
    const { items, notes } = question;
    if (items.length === 0) throw this.nothingAsked(notes);
    const { scenario, variant } = this;
    this.asking = { scenario, variant, items, once: [] };
    const observations = this.observations(items);
    const { limits, onlyReach } = this.options;
    if (onlyReach || limits.switches !== undefined) {
      const found = this.hunted(question, observations);
      if (found) return found;
      if (limits.switches !== undefined) {
        this.limit ??= { name: 'switches', value: limits.switches };
        return this.compose(question, {});
      }
    }
    this.asking = { ...this.asking, once: seenOnce(scenario, variant, items) };
    const surveys = observations.map((observe) => this.survey(observe));
    for (const [at, each] of surveys.entries()) {
      if (!each.reached) continue;
      const observe = observations[at];
      const shortest = this.hunt(isComplete, observe);
      const completions = onlyReach ? null : this.completions(observe ? null : each);
      const minimal = shortest ? 'global' : 'within-run';
      return this.reachable(question, {
        schedule: shortest ?? each.reached,
        observe,
        minimal,
        completions,
      });
    }
    if (this.limit === null) return this.unreachable(question, surveys[0] as Survey);
    // All runs are too many; one may still be found.
    return (
      (this.interrupted ? null : this.hunted(question, observations)) ?? this.compose(question, {})
    );
  }

  /** Looks for one run, by few switches. */
  private hunted(
    question: Question,
    observations: readonly (Observation | undefined)[],
  ): AskResult | null {
    for (const observe of observations) {
      const schedule = this.hunt(isComplete, observe);
      if (!schedule) continue;
      return this.reachable(question, { schedule, observe, minimal: 'global', completions: null });
    }
    return null;
  }

  private get interrupted(): boolean {
    return this.limit !== null && ['interrupt', 'time', 'memory'].includes(this.limit.name);
  }

  private nothingAsked(notes: readonly string[]): GracewalkError {
    return new GracewalkError('E503', 'the question has no row that says anything', {
      variant: this.variant,
      notes,
      help: 'name at least one function or event that this variant executes',
    });
  }

  private question(): Question {
    const { title, plainCalls, fixTypos, limits } = this.options;
    const { question, stopped } = understand(this.scenario, this.variant, this.diagram, {
      title,
      plainCalls,
      fixTypos,
      steps: limits.steps ?? Infinity,
      watch: (soFar) => this.watch(soFar, 'looking up names'),
    });
    if (stopped !== null) this.noteLimit(stopped);
    return question;
  }

  /** A violated invariant is seen only with its observer; what a check of the protocol's finds, without. */
  private observations(items: readonly Item[]): (Observation | undefined)[] {
    const asks = items.some(
      ({ row }) => 'violation' in row.cell && row.cell.violation === 'property',
    );
    return asks ? [...this.invariants(), undefined] : [undefined];
  }

  private invariants(): Observation[] {
    return Object.entries(this.definition.always ?? {}).map(([name, predicate]): Observation => ({
      name,
      predicate,
      mode: 'always',
    }));
  }

  private hunt(
    judge: (pattern: Pattern) => 'goal' | 'hopeless' | null,
    observe: Observation | undefined,
  ): Schedule | null {
    const { limits } = this.options;
    const { run } = hunt(askedVariant(this.asking, observe), judge, {
      switches: limits.switches ?? MOST_SWITCHES,
      states: Math.min(MOST_STATES, limits.steps ?? Infinity),
      stop: (seen) => this.watch({ runs: 0, steps: seen }, 'looking for a short run') !== null,
    });
    return run?.schedule ?? null;
  }

  private survey(observe: Observation | undefined): Survey {
    const { runs = Infinity, steps = Infinity } = this.options.limits;
    const asked = askedVariant(this.asking, observe);
    const result = survey(asked, {
      runs,
      steps,
      watch: (soFar, estimate) => this.watch(soFar, 'exploring', estimate),
    });
    const { exploration } = result;
    this.runs += exploration.runs;
    this.steps += exploration.steps;
    if (exploration.stopped !== null) this.noteLimit(exploration.stopped);
    else if (exploration.bounded > 0) {
      this.limit ??= {
        name: 'bounded',
        value: exploration.boundedAt?.limit ?? 0,
        runs: exploration.bounded,
        site: exploration.boundedAt?.site ?? null,
        message: exploration.boundedAt?.message,
      };
    }
    return result;
  }

  private reachable(
    question: Question,
    found: {
      readonly schedule: Schedule;
      readonly observe: Observation | undefined;
      readonly minimal: RunReport['minimal'];
      readonly completions: Completions | null;
    },
  ): AskResult {
    const { schedule, observe, minimal, completions } = found;
    const waits = waitsIn(askedVariant(this.asking, observe).program, schedule);
    const kind = violationAskedFor(question.items);
    const run = this.record(schedule, { observe, minimal, kind });
    return this.compose(question, {
      answer: 'reachable',
      // Whoever asks for a violation gets the diagram that `check` draws of it.
      run: kind === null ? this.marked(run, schedule, waits.told) : run,
      waits: waits.sentences,
      completions,
    });
  }

  /** What becomes of the runs that follow the question: all of them are tried, with each invariant. */
  private completions(first: Survey | null): Completions {
    const kinds = new Map<ViolationKind, [Schedule, Observation | undefined]>();
    let runs = 0;
    const note = (found: Survey, observe: Observation | undefined): void => {
      if (observe === undefined) runs = found.following;
      for (const [kind, schedule] of found.kinds) {
        if (!kinds.has(kind)) kinds.set(kind, [schedule, observe]);
      }
    };
    note(first ?? this.survey(undefined), undefined);
    for (const observe of this.invariants()) {
      if (this.limit === null) note(this.survey(observe), observe);
    }
    const [worst] = kinds.values();
    const run = worst && this.record(worst[0], { observe: worst[1] });
    return {
      runs,
      kinds: VIOLATION_KINDS.filter((kind) => kinds.has(kind)),
      token: run ? this.tokenOf(run) : null,
      exhaustive: this.limit === null,
    };
  }

  private unreachable(question: Question, { furthest, furthestRun, pattern }: Survey): AskResult {
    const { items } = question;
    const schedule =
      furthest === 0
        ? furthestRun
        : this.hunt(({ straight, strayed }) => {
            if (straight === furthest) return 'goal';
            return strayed ? 'hopeless' : null;
          }, undefined);
    const asked = askedVariant(this.asking);
    asked.pattern.learn(pattern);
    const stuck = whyStuck(asked, schedule ?? furthestRun);
    const run = this.record(stuck.schedule, { minimal: schedule ? 'global' : 'within-run' });
    const item = items[furthest] as Item;
    const stopsAt: StopsAt = {
      rows: furthest,
      of: items.length,
      row: item.row.n,
      title: item.title,
      because: stuck.because,
    };
    return this.compose(question, {
      answer: 'unreachable',
      run: this.marked(run, stuck.schedule, stuck.told),
      stopsAt,
    });
  }

  private record(
    schedule: Schedule,
    how: {
      readonly observe?: Observation | undefined;
      readonly minimal?: RunReport['minimal'];
      readonly kind?: ViolationKind | null;
    },
  ): RunReport {
    const { observe, minimal = 'within-run', kind = null } = how;
    const { program } = buildVariant(this.scenario, this.variant, {
      traced: true,
      ...(observe ? { observe } : {}),
    });
    return recordRun(program, schedule, {
      columns: columnsOf(this.definition),
      minimal,
      kind,
      observer: Math.max(0, Object.keys(this.definition.always ?? {}).indexOf(observe?.name ?? '')),
    });
  }

  /** Rows of the question, and steps that the answer speaks of, are drawn in any case. */
  private marked(run: RunReport, schedule: Schedule, told: ReadonlySet<number>): RunReport {
    const asked = stepsAskedFor(askedVariant(this.asking), schedule);
    const isAsked = (n: number): boolean => asked.has(n) || told.has(n - 1);
    const steps = run.steps.map((step) =>
      isAsked(step.n) ? { ...step, asked: true as const } : step,
    );
    return { ...run, steps };
  }

  private tokenOf({ schedule }: RunReport): string {
    const fingerprint = variantFingerprint(this.scenario, this.variant);
    const where = { scenario: this.scenario.id, variant: this.variant, fingerprint };
    return formatToken({ ...where, schedule });
  }

  private compose(
    { notes }: Question,
    part: Partial<Pick<AskResult, 'answer' | 'run' | 'stopsAt' | 'waits' | 'completions'>>,
  ): AskResult {
    const { answer = 'inconclusive', run = null } = part;
    const { title, expected, now } = this.options;
    return {
      scenario: this.scenario.id,
      variant: this.variant,
      fingerprint: variantFingerprint(this.scenario, this.variant),
      machineTitle: this.definition.machine.title,
      model: this.definition.model,
      title,
      answer,
      ok: expected === undefined || expected === answer,
      notes,
      run,
      token: run ? this.tokenOf(run) : null,
      stopsAt: part.stopsAt ?? null,
      waits: part.waits ?? [],
      completions: part.completions ?? null,
      explored: {
        runs: this.runs,
        steps: this.steps,
        exhaustive: this.limit === null,
        ms: Math.round(now() - this.started),
      },
      limit: this.limit,
      assumptions: assumptions(this.definition),
    };
  }

  private noteLimit(name: string): void {
    const { limits } = this.options;
    const value = name in limits ? (limits[name as keyof Limits] ?? 0) : 0;
    this.limit ??= { name, value } as LimitHit;
  }

  private watch(
    soFar: Pick<Exploration, 'runs' | 'steps'>,
    phase: string,
    estimate: number | null = null,
  ): string | null {
    const { limits, now, heapUsed, shouldStop, onProgress } = this.options;
    const ms = now() - this.started;
    onProgress?.({ runs: soFar.runs, steps: soFar.steps, ms, phase, estimate });
    if (shouldStop?.()) return this.stoppedBy('interrupt');
    if (limits.time !== undefined && ms > limits.time) return this.stoppedBy('time');
    if (limits.memory !== undefined && heapUsed && heapUsed() > limits.memory) {
      return this.stoppedBy('memory');
    }
    return null;
  }

  private stoppedBy(name: string): string {
    this.noteLimit(name);
    return name;
  }
}

function isComplete(pattern: Pattern): 'goal' | null {
  return pattern.isComplete ? 'goal' : null;
}
