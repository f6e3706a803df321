import type { Engine } from '../../src/explore/explore.ts';
import type { PlantedMistakes } from '../../src/explore/source-sets.ts';
import { build, type Built } from './build.ts';
import type { CheckMistakes } from './checks.ts';
import { difference, outcomesOf, type Outcomes } from './outcomes.ts';
import { text, type ActorSpec, type Spec, type Stmt } from './spec.ts';

/** Compares the reduced explorations of a program with plain enumeration. */

export interface Mistakes extends CheckMistakes {
  readonly engine?: PlantedMistakes;
  /** Breaks a machine on purpose. */
  readonly sabotage?: (program: Built) => void;
}

export interface Comparison {
  /** Plain enumeration was too large, so nothing was compared. */
  readonly skipped: boolean;
  readonly plain: number;
  readonly reduced: number;
  /** Prefixes that source sets, and wakeup trees, gave up. */
  readonly sleepBlocked: number;
  readonly blockedOptimal: number;
  /** Runs of reduced exploration beyond one per class: sound, but not optimal. */
  readonly duplicates: number;
  /** What differs; empty if they agree. */
  readonly differences: readonly string[];
}

const NOTHING: Comparison = {
  skipped: true,
  plain: 0,
  reduced: 0,
  sleepBlocked: 0,
  blockedOptimal: 0,
  duplicates: 0,
  differences: [],
};

function outcomes(
  spec: Spec,
  engine: Engine | 'shards',
  maxRuns: number,
  mistakes: Mistakes,
): Outcomes {
  const program = build(spec, mistakes);
  mistakes.sabotage?.(program);
  return outcomesOf(program, engine === 'shards' ? 'source' : engine, {
    maxRuns,
    ...(engine === 'shards' ? { sizes: SMALL_SHARDS } : {}),
    ...(mistakes.engine ? { mistakes: mistakes.engine } : {}),
  });
}

function nearest(item: string, others: ReadonlySet<string>): string {
  let best = '';
  let fewest = Infinity;
  for (const other of others) {
    const lines = difference(item, other);
    if (lines.length < fewest) [best, fewest] = [lines, lines.length];
  }
  return best;
}

function compareSets(
  what: string,
  plain: ReadonlySet<string>,
  reduced: ReadonlySet<string>,
): string[] {
  const lost = [...plain].filter((item) => !reduced.has(item));
  const invented = [...reduced].filter((item) => !plain.has(item));
  const out: string[] = [];
  if (lost.length > 0) {
    out.push(
      `${what}: ${lost.length} of ${plain.size} lost by reduction, for example\n${lost[0]}\n nearest:\n${nearest(lost[0]!, reduced)}`,
    );
  }
  if (invented.length > 0) {
    out.push(`${what}: ${invented.length} only in reduction, for example\n${invented[0]}`);
  }
  return out;
}

/** The last: source sets in shards so small that even these programs need many. */
const REDUCTIONS = ['source', 'optimal', 'shards'] as const;
const SMALL_SHARDS = { first: 7, each: 3, batch: 4 };

export function compare(spec: Spec, maxRuns: number, mistakes: Mistakes = {}): Comparison {
  const differences: string[] = [];
  const sum = { reduced: 0, sleepBlocked: 0, blockedOptimal: 0, duplicates: 0 };
  let plain: Outcomes;
  try {
    plain = outcomes(spec, 'plain', maxRuns, mistakes);
    if (plain.stopped !== null) return NOTHING;
    differences.push(...plain.disagreements);
    for (const engine of REDUCTIONS) {
      const reduced = outcomes(spec, engine, Math.max(1000, 4 * plain.runs), mistakes);
      differences.push(...compareOutcomes(plain, reduced).map((text) => `${text} (${engine})`));
      sum.reduced += reduced.runs;
      sum.duplicates += reduced.runs - reduced.classes.size;
      if (engine === 'optimal') sum.blockedOptimal += reduced.sleepBlocked;
      if (engine === 'source') sum.sleepBlocked += reduced.sleepBlocked;
    }
  } catch (error) {
    return { ...NOTHING, skipped: false, differences: [`thrown: ${(error as Error).stack}`] };
  }
  return { skipped: false, plain: plain.runs, ...sum, differences };
}

function compareOutcomes(plain: Outcomes, reduced: Outcomes): string[] {
  const differences = [
    ...compareSets('violations', plain.violations, reduced.violations),
    ...compareSets('sometimes', plain.sometimes, reduced.sometimes),
    ...compareSets('deadlocks', plain.deadlocks, reduced.deadlocks),
    ...compareSets('reported', plain.reported, reduced.reported),
    ...compareSets('final states', plain.finals, reduced.finals),
    ...compareSets('classes', plain.classes, reduced.classes),
  ];
  if (reduced.runs > plain.runs) {
    differences.push(`reduction has ${reduced.runs} runs, enumeration ${plain.runs}`);
  }
  if (!plain.branches && reduced.runs !== reduced.classes.size) {
    differences.push(
      `reduction runs ${reduced.runs} times through ${reduced.classes.size} classes`,
    );
  }
  if (reduced.stopped !== null) differences.push(`reduction does not end (${reduced.stopped})`);
  return differences;
}

/** Statement lists with one statement left out, or replaced by its body. */
function* smallerBodies(body: readonly Stmt[]): Generator<readonly Stmt[]> {
  for (let at = 0; at < body.length; at++) {
    const stmt = body[at]!;
    const put = (...items: Stmt[]): Stmt[] => [
      ...body.slice(0, at),
      ...items,
      ...body.slice(at + 1),
    ];
    yield put();
    if (stmt.op === 'several') {
      for (let micro = 0; micro < stmt.body.length; micro++) {
        yield put({ ...stmt, body: stmt.body.filter((_, index) => index !== micro) });
      }
      if (stmt.guard) yield put({ ...stmt, guard: null });
      if (stmt.outcomes !== null) yield put({ ...stmt, outcomes: null });
    } else if (stmt.op === 'if') {
      yield put(...stmt.body);
      yield put(...stmt.otherwise);
      for (const inner of smallerBodies(stmt.body)) yield put({ ...stmt, body: inner });
      for (const inner of smallerBodies(stmt.otherwise)) yield put({ ...stmt, otherwise: inner });
    } else if ('body' in stmt) {
      yield put(...stmt.body);
      for (const inner of smallerBodies(stmt.body)) yield put({ ...stmt, body: inner });
    }
  }
}

function* smallerSpecs(spec: Spec): Generator<Spec> {
  const replace = (at: number, actor: ActorSpec): ActorSpec[] =>
    spec.actors.map((other, index) => (index === at ? actor : other));
  for (let at = 0; at < spec.actors.length; at++) {
    const actor = spec.actors[at]!;
    if (actor.body.length > 0) yield { ...spec, actors: replace(at, { ...actor, body: [] }) };
  }
  for (let at = 0; at < spec.actors.length; at++) {
    const actor = spec.actors[at]!;
    for (const body of smallerBodies(actor.body)) {
      yield { ...spec, actors: replace(at, { ...actor, body }) };
    }
  }
  for (let at = 0; at < spec.handlers.length; at++) {
    for (const body of smallerBodies(spec.handlers[at]!)) {
      yield {
        ...spec,
        handlers: spec.handlers.map((other, index) => (index === at ? body : other)),
      };
    }
  }
  for (let at = 0; at < spec.checks.length; at++) {
    yield { ...spec, checks: spec.checks.filter((_, index) => index !== at) };
  }
  for (let at = 0; at < spec.mapped.length; at++) {
    yield { ...spec, mapped: spec.mapped.filter((_, index) => index !== at) };
  }
  const last = spec.actors.at(-1);
  if (last?.body.length === 0 && spec.actors.length > 1 && !text(spec).includes('join')) {
    yield { ...spec, actors: spec.actors.slice(0, -1) };
  }
}

/** A smallest program that still differs. */
export function shrink(spec: Spec, maxRuns: number, mistakes: Mistakes = {}): Spec {
  for (const smaller of smallerSpecs(spec)) {
    if (compare(smaller, maxRuns, mistakes).differences.length > 0) {
      return shrink(smaller, maxRuns, mistakes);
    }
  }
  return spec;
}

/** A mismatch as people read it. */
export function explain(spec: Spec, comparison: Comparison): string {
  return `${text(spec)}\n\n${comparison.differences.join('\n\n')}`;
}
