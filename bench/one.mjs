/** Measures one program and prints a line of JSON. A process of its own, for a peak of its own. */
import { pathToFileURL } from 'node:url';
import { explore } from '../src/explore/explore.ts';
import { checkVariant, variantNames } from '../src/scenario/check.ts';
import { algorithms, benchmarks, title } from '../test/zoo/index.ts';

/** Best of several: the first is spent compiling. */
const ENOUGH_SECONDS = 2;
const REPEATS = 5;

/** @param {string} name @returns {Omit<import('./programs.mjs').Measured, 'rss'>} */
function program(name) {
  const counted = [...benchmarks, ...algorithms].find((candidate) => title(candidate) === name);
  if (!counted) throw new Error(`no program is called ${name}`);
  let [best, total] = [Infinity, 0];
  for (let repeat = 0; ;) {
    const built = counted.build();
    const began = performance.now();
    const { runs, steps, sleepBlocked } = explore(built);
    const seconds = (performance.now() - began) / 1000;
    if (runs !== counted.runs)
      throw new Error(`${name} has ${runs} runs instead of ${counted.runs}`);
    best = Math.min(best, seconds);
    total += seconds;
    if (++repeat === REPEATS || total > ENOUGH_SECONDS) {
      return { title: name, runs, steps, sleepBlocked, seconds: best, note: '' };
    }
  }
}

/** Every variant once, with everything that `gracewalk check` does. @param {string} file */
async function scenario(file) {
  const { default: defined } = await import(pathToFileURL(file).href);
  const names = variantNames(defined);
  const began = performance.now();
  const results = names.map((name) =>
    checkVariant(defined, name, { limits: {}, now: () => performance.now() }),
  );
  const seconds = (performance.now() - began) / 1000;
  /** @param {'runs' | 'steps' | 'sleepBlocked'} field */
  const sum = (field) => results.reduce((total, { explored }) => total + explored[field], 0);
  const wrong = results.filter(({ ok }) => !ok).map(({ variant }) => variant);
  return {
    title: defined.id,
    runs: sum('runs'),
    steps: sum('steps'),
    sleepBlocked: sum('sleepBlocked'),
    seconds,
    note: `${names.length} variants${wrong.length > 0 ? `, not as declared: ${wrong.join('; ')}` : ''}`,
  };
}

const [, , what] = process.argv;
const measured = what.endsWith('.ts') ? await scenario(what) : program(what);
const rss = process.resourceUsage().maxRSS * 1024;
console.log(JSON.stringify({ ...measured, rss }));
