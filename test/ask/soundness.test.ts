import { describe, expect, test } from 'vitest';
import type { Item } from '../../src/ask/pattern.ts';
import { Pattern } from '../../src/ask/pattern.ts';
import { survey } from '../../src/ask/search.ts';
import { signsOf, type Sign } from '../../src/ask/signs.ts';
import { explore } from '../../src/explore/explore.ts';
import type { Program, Run, StepCheck } from '../../src/explore/run.ts';
import type { Cell, Cells } from '../../src/machine/cells.ts';
import { build } from '../compare/build.ts';
import { FAMILY_NAMES, generate } from '../compare/generate.ts';
import { Random } from '../compare/random.ts';
import type { Spec } from '../compare/spec.ts';

/**
 * Reduced search answers questions as all interleavings do. Programs are generated, and so are questions, of
 * what their runs show; how far the best run comes, and what goes wrong in runs that follow a question, is
 * found by writing down every interleaving and looking it through, and compared with what the search says.
 */
const PROGRAMS = 12;
const QUESTIONS = 3;
const SEED = 7;
const MOST_RUNS = 3000;

/** A sign as words, and whose it is. */
interface Seen {
  readonly column: string;
  readonly key: string;
}

function keyOf(sign: Sign): string {
  if (sign.sign !== 'does') return `${sign.sign} ${sign.name}`;
  return `does ${sign.names[0]} ${sign.event} ${sign.comment}`;
}

interface PlainRun {
  readonly seen: readonly Seen[];
  readonly kinds: readonly string[];
}

/** Every interleaving, as what is seen in it. */
function allRuns(spec: Spec): PlainRun[] | null {
  const program = build(spec);
  const at: { readonly seen: readonly Seen[]; readonly kinds: readonly string[] }[] = [];
  const runs: PlainRun[] = [];
  const { stopped } = explore(program, {
    engine: 'plain',
    maxRuns: MOST_RUNS,
    stepped: (run: Run) => {
      const signs = run.last ? signsOf(run.machine, run.last) : [];
      const { column } = run.last!.who;
      at[run.depth - 1] = {
        seen: signs.map((sign) => ({ column, key: keyOf(sign) })),
        kinds: run.found.map(({ kind }) => kind),
      };
    },
    ended: (run, ending) => {
      if (ending === 'assumed') return;
      const steps = at.slice(0, run.depth);
      runs.push({
        seen: steps.flatMap(({ seen }) => seen),
        kinds: steps.flatMap(({ kinds }) => kinds),
      });
    },
  });
  return stopped === null ? runs : null;
}

function draw(random: Random, runs: readonly PlainRun[]): Seen[] {
  const all = new Map<string, Seen>();
  for (const run of runs.slice(0, 200)) {
    for (const seen of run.seen) all.set(`${seen.column} ${seen.key}`, seen);
  }
  return random.some(random.between(2, 5), () => random.of([...all.values()]));
}

/** How many of the items a run shows, one after the other; and how many before it takes one out of turn. */
function follow(asked: readonly Seen[], { seen }: PlainRun): { all: number; straight: number } {
  let all = 0;
  let straight: number | null = null;
  for (const { column, key } of seen) {
    const due = asked[all];
    if (due?.column === column && due.key === key) {
      all++;
      continue;
    }
    const next = asked.slice(all).find((item) => item.column === column);
    if (next !== undefined && next !== due && next.key === key) straight ??= all;
  }
  return { all, straight: straight ?? all };
}

function itemsOf(asked: readonly Seen[]): Item[] {
  return asked.map(({ column, key }, at) => ({
    row: {
      n: at + 1,
      column,
      place: { line: at + 1, at: 1, source: key },
      text: key,
      cell: { is: 'elision' },
    },
    title: key,
    column,
    matches: (sign) => keyOf(sign) === key,
    resembles: () => false,
  }));
}

/** The planted mistake: progress that nobody records. */
function unrecorded(check: StepCheck): StepCheck {
  return (machine, step) => {
    const { cells } = machine;
    const peeking = Object.assign(Object.create(cells) as Cells, {
      get: (cell: Cell) => cells.peek(cell),
      set: (cell: Cell, value: number) => cells.poke(cell, value),
    });
    const blind = Object.create(machine, { cells: { value: peeking } }) as typeof machine;
    check(blind, step);
  };
}

interface Compared {
  questions: number;
  reachable: number;
  differences: string[];
}

function compareFamily(family: string, mistaken: boolean): Compared {
  const compared: Compared = { questions: 0, reachable: 0, differences: [] };
  const random = new Random(SEED);
  for (let index = 0; index < PROGRAMS; index++) {
    const spec = generate(family, SEED, index, MOST_RUNS, 'sc');
    const runs = allRuns(spec);
    if (runs === null || runs.every(({ seen }) => seen.length === 0)) continue;
    for (let nth = 0; nth < QUESTIONS; nth++) {
      const asked = draw(random, runs);
      const program = build(spec);
      const pattern = new Pattern(program.machine, itemsOf(asked));
      const check = mistaken ? unrecorded(pattern.check) : pattern.check;
      const searched: Program = { ...program, stepChecks: [...program.stepChecks, check] };
      const found = survey(
        { program: searched, pattern },
        { runs: Infinity, steps: Infinity, watch: () => null },
      );
      const followed = runs.map((run) => ({ ...follow(asked, run), kinds: run.kinds }));
      const following = followed.filter(({ all }) => all === asked.length);
      const plain = {
        reached: following.length > 0,
        furthest: Math.max(...followed.map(({ straight }) => straight)),
        kinds: [...new Set(following.flatMap(({ kinds }) => kinds))].sort(),
      };
      const reduced = {
        reached: found.following > 0,
        furthest: found.furthest,
        kinds: plain.kinds.filter((kind) => found.kinds.has(kind as never)),
      };
      compared.questions++;
      if (plain.reached) compared.reachable++;
      if (found.reached === null && found.following > 0) compared.differences.push('no run');
      if (JSON.stringify(plain) !== JSON.stringify(reduced)) {
        const question = asked.map(({ column, key }) => `${column}: ${key}`).join('; ');
        const say = [JSON.stringify(plain), JSON.stringify(reduced), question];
        compared.differences.push(`program ${index}: ${say.join('\n')}`);
      }
    }
  }
  return compared;
}

describe.each(FAMILY_NAMES)('%s', (family) => {
  test('the search answers as all interleavings do', () => {
    const { questions, differences } = compareFamily(family, false);
    expect(differences).toEqual([]);
    expect(questions).toBeGreaterThan(PROGRAMS);
  });
});

test('some questions are reachable, and some are not', () => {
  const { questions, reachable } = compareFamily('mixed', false);
  expect(reachable).toBeGreaterThan(2);
  expect(reachable).toBeLessThan(questions - 2);
});

test('progress that is not recorded is found out', () => {
  let found = 0;
  for (const family of ['mixed', ...FAMILY_NAMES]) {
    found += compareFamily(family, true).differences.length;
    if (found > 5) break;
  }
  expect(found).toBeGreaterThan(5);
});
