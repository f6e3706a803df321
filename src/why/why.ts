import { GracewalkError } from '../base/errors.ts';
import type { ViolationKind } from '../machine/violation.ts';
import type { CheckOptions } from '../scenario/check.ts';
import { assumptions } from '../scenario/facts.ts';
import { definitionOf } from '../scenario/program.ts';
import type { LimitHit } from '../scenario/result.ts';
import type { Scenario } from '../scenario/scenario.ts';
import { differencesOf, withVariant, withoutProtections } from './altered.ts';
import { inOrder, mostPrecise } from './answers.ts';
import type { Answer, Undecided, WhyResult } from './result.ts';
import { minimalSets, type Attempt, type SetSearch } from './sets.ts';
import { failureOf, shortestRun } from './show.ts';
import { OF_TABLE, tryVariant, type Effect, type Trial } from './trial.ts';

/**
 * Why is a variant safe, or why does it fail?
 *
 * Safe: its protections are found by exploring it once, then taken away, alone and in sets of up to `size`, and
 * each such variant is explored like any other, to its end. What is not needed is proven so, not guessed.
 * Failing: the same with what distinguishes it from the scenario (its patches, its configuration, ...), and the
 * question which of that, taken back, makes it safe.
 */
export interface WhyOptions extends Pick<
  CheckOptions,
  'limits' | 'now' | 'shouldStop' | 'heapUsed' | 'onProgress'
> {
  readonly size: number;
  /** Only sets that lead to this kind of violation; null: any. */
  readonly kind: ViolationKind | null;
  /** Numbers of the answers whose shortest run is wanted. */
  readonly show: readonly number[];
}

export function why(scenario: Scenario, variant: string, options: WhyOptions): WhyResult {
  return new Inquiry(scenario, variant, options).result();
}

/** What a failing variant becomes if the right things are taken back. */
const SAFE = 'safe';

class Inquiry {
  private readonly scenario: Scenario;
  private readonly name: string;
  private readonly options: WhyOptions;
  private readonly started: number;
  private limit: LimitHit | null = null;
  private sets = 0;
  private runs = 0;
  private steps = 0;
  private readonly undecided: Undecided[] = [];
  /** By set and effect: what was found of it. */
  private readonly found: Map<string, Effect> = new Map();
  private readonly unseen: Map<string, readonly string[]> = new Map();

  constructor(scenario: Scenario, name: string, options: WhyOptions) {
    this.scenario = scenario;
    this.name = name;
    this.options = options;
    this.started = options.now();
  }

  result(): WhyResult {
    const { kind, size } = this.options;
    const definition = definitionOf(this.scenario, this.name);
    const base = this.tried(this.scenario, { phase: 'as it is', wanted: null, traced: true });
    const effects = [...base.effects.values()];
    const verdict = effects.length > 0 ? 'fails' : base.stopped === null ? 'safe' : 'inconclusive';
    if (verdict === 'inconclusive') this.limit ??= this.limitOf(base.stopped ?? '');
    const part =
      verdict === 'safe'
        ? this.protections(base)
        : verdict === 'fails'
          ? this.differences()
          : { items: [], answers: [], untried: 0 };
    const failure = verdict === 'fails' ? this.failure(base) : null;
    return {
      scenario: this.scenario.id,
      variant: this.name,
      machineTitle: definition.machine.title,
      model: definition.model,
      verdict,
      kinds: [...new Set(effects.map((effect) => effect.kind))],
      unseen: base.stopped === null ? base.unseen : [],
      size,
      kind,
      ...part,
      undecided: this.undecided,
      limit: this.limit,
      explored: {
        sets: this.sets,
        runs: this.runs,
        steps: this.steps,
        ms: Math.round(this.options.now() - this.started),
      },
      failure,
      assumptions: assumptions(definition),
    };
  }

  /** Of a safe variant: which protections, taken away, make it fail, and how. */
  private protections(base: Trial): Pick<WhyResult, 'items' | 'answers' | 'untried'> {
    const { size } = this.options;
    const names = [...base.protections.keys()];
    const wanted = this.wanted();
    const partOf = (name: string): string[] => [...(base.protections.get(name) ?? [])];
    const search = minimalSets(names, { size, wanted, partOf }, (set, known) => {
      const altered = withoutProtections(this.scenario, this.name, set);
      return this.attempt(altered, set, {
        wanted: wanted?.filter((effect) => !known.has(effect)) ?? null,
        base,
      });
    });
    const found = this.asked(search);
    const items = names.map((name) => ({
      name,
      partOf: partOf(name),
      needed: found.some((set) => set.items.includes(name)),
      unseen: this.unseen.get(name) ?? [],
    }));
    const sets = inOrder(mostPrecise(found, partOf));
    return { items, answers: this.answers(sets), untried: search.untried };
  }

  /** Only what was asked for, of what was met on the way. */
  private asked({ found }: SetSearch): SetSearch['found'] {
    const wanted = this.wanted();
    return found.filter(({ effect }) => wanted?.includes(effect) ?? true);
  }

  private wanted(): string[] | null {
    const { kind } = this.options;
    if (kind === null) return null;
    return kind === 'use-after-free' ? [OF_TABLE, kind] : [kind];
  }

  /** Of a failing variant: what of its own has to be taken back to make it safe. */
  private differences(): Pick<WhyResult, 'items' | 'answers' | 'untried'> {
    const all = differencesOf(this.scenario, this.name);
    const names = all.map(({ name }) => name);
    const search = minimalSets(names, { size: this.options.size, wanted: [SAFE] }, (set) => {
      const altered = withVariant(this.scenario, this.name, (variant) =>
        all.reduce((now, { name, revert }) => (set.includes(name) ? revert(now) : now), variant),
      );
      const attempt = this.attempt(altered, set, { wanted: null, base: null });
      if (!attempt) return null;
      const isSafe = attempt.complete && attempt.effects.size === 0;
      return { complete: attempt.complete, effects: new Set(isSafe ? [SAFE] : []) };
    });
    const items = names.map((name) => ({
      name,
      partOf: [],
      needed: search.found.some((set) => set.items.includes(name)),
      unseen: [],
    }));
    return { items, answers: this.answers(inOrder(search.found)), untried: search.untried };
  }

  private answers(sets: SetSearch['found']): Answer[] {
    return sets.map(({ items, effect, minimal }, at) => {
      const n = at + 1;
      const found = this.found.get(keyOf(items, effect));
      const shown = found && this.options.show.includes(n);
      const altered = withoutProtections(this.scenario, this.name, items);
      return {
        n,
        effect,
        without: items,
        minimal,
        message: found?.violation.message ?? '',
        run: shown ? shortestRun(altered, this.name, effect, found, () => this.stopped()) : null,
      };
    });
  }

  private failure(base: Trial): WhyResult['failure'] {
    const [effect, found] = [...base.effects][0] as [string, Effect];
    return failureOf(this.scenario, this.name, effect, found, () => this.stopped());
  }

  /** Explores the variant without a set; null: a limit of the whole has been hit. */
  private attempt(
    altered: Scenario,
    set: readonly string[],
    { wanted, base }: { readonly wanted: readonly string[] | null; readonly base: Trial | null },
  ): Attempt | null {
    if (this.limit) return null;
    const undecided = (reason: string): void => void this.undecided.push({ without: set, reason });
    try {
      const trial = this.tried(altered, {
        phase: `without ${set.join(' and ')}`,
        wanted,
        traced: false,
      });
      this.sets++;
      for (const [effect, found] of trial.effects) this.found.set(keyOf(set, effect), found);
      const lost = base ? trial.unseen.filter((title) => !base.unseen.includes(title)) : [];
      if (set.length === 1 && trial.effects.size === 0) this.unseen.set(set[0] ?? '', lost);
      const complete = trial.stopped === null || trial.stopped === 'found';
      if (!complete) undecided(reasonOf(trial.stopped ?? ''));
      return { effects: new Set(trial.effects.keys()), complete };
    } catch (error) {
      if (!(error instanceof GracewalkError)) throw error;
      undecided(error.message);
      return { effects: new Set(), complete: false };
    }
  }

  private tried(
    scenario: Scenario,
    how: {
      readonly phase: string;
      readonly wanted: readonly string[] | null;
      readonly traced: boolean;
    },
  ): Trial {
    const { runs = Infinity, steps = MOST_STEPS } = this.options.limits;
    const { phase, ...rest } = how;
    const trial = tryVariant(scenario, this.name, {
      ...rest,
      runs,
      steps,
      watch: (soFar) => this.watch(soFar, phase),
    });
    this.runs += trial.runs;
    this.steps += trial.steps;
    this.watch({ runs: 0, steps: 0 }, phase);
    return trial;
  }

  /** Limits of the whole: they end it. */
  private watch(soFar: { runs: number; steps: number }, phase: string): string | null {
    const { limits, now, heapUsed, shouldStop, onProgress } = this.options;
    const ms = now() - this.started;
    const runs = this.runs + soFar.runs;
    onProgress?.({ runs, steps: this.steps + soFar.steps, ms, phase, estimate: null });
    let name: string | null = null;
    if (shouldStop?.() === true) name = 'interrupt';
    else if (limits.time !== undefined && ms > limits.time) name = 'time';
    else if (limits.memory !== undefined && heapUsed && heapUsed() > limits.memory) name = 'memory';
    if (name !== null) this.limit ??= this.limitOf(name);
    return name;
  }

  private stopped(): boolean {
    return this.watch({ runs: 0, steps: 0 }, 'looking for the shortest run') !== null;
  }

  private limitOf(name: string): LimitHit {
    const { limits } = this.options;
    const known = name in limits ? limits[name as keyof typeof limits] : undefined;
    return { name, value: known ?? (name === 'steps' ? MOST_STEPS : 0) };
  }
}

/** Of one set, if nobody says otherwise: what takes longer is said to be undecided. */
const MOST_STEPS = 2_000_000;

function keyOf(set: readonly string[], effect: string): string {
  return JSON.stringify([set, effect]);
}

function reasonOf(stopped: string): string {
  if (stopped === 'length')
    return 'a run does not come to its end: somebody waits for what never comes';
  if (stopped === 'bounded') return 'a loop came to its bound';
  return `stopped at the limit on ${stopped}`;
}
