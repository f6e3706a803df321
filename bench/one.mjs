/** Measures one program and prints a line of JSON. A process of its own, for a peak of its own. */
import { pathToFileURL } from 'node:url';
import { explore } from '../src/explore/explore.ts';
import { checkVariant, variantNames } from '../src/scenario/check.ts';
import { counted } from './counted.mjs';
import { threadPool } from './pool.mjs';
import { profiled } from './profile.mjs';

/** Best of several: the first is spent compiling. */
const ENOUGH_SECONDS = 2;
const REPEATS = 5;

/**
 * @typedef {object} Asked
 * @property {string} what title in test/zoo, or file of a scenario
 * @property {'source' | 'optimal'} engine
 * @property {number} jobs threads
 * @property {boolean} profile say where the time goes
 */

/** @param {Asked} asked @returns {Omit<import('./programs.mjs').Measured, 'rss' | 'profile'>} */
function program({ what, engine, jobs }) {
  const { build, runs: known } = counted(what);
  const pool = jobs > 1 ? threadPool(jobs - 1) : null;
  const job = { what };
  let [best, total] = [Infinity, 0];
  for (let repeat = 0; ;) {
    const built = build();
    const began = performance.now();
    const { runs, steps, sleepBlocked } = explore(built, {
      engine,
      ...(pool ? { shards: (batch, here) => pool.explore(job, batch, here, () => false) } : {}),
    });
    const seconds = (performance.now() - began) / 1000;
    if (runs !== known) throw new Error(`${what} has ${runs} runs instead of ${known}`);
    best = Math.min(best, seconds);
    total += seconds;
    if (++repeat === REPEATS || total > ENOUGH_SECONDS) {
      return { title: what, runs, steps, sleepBlocked, seconds: best, note: '' };
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

const asked = /** @type {Asked} */ (JSON.parse(process.argv[2]));
const measured = asked.what.endsWith('.ts') ? await scenario(asked.what) : program(asked);
const profile =
  asked.profile && !asked.what.endsWith('.ts') ? await profiled(() => program(asked)) : null;
const rss = process.resourceUsage().maxRSS * 1024;
console.log(JSON.stringify({ ...measured, rss, profile: profile?.lines ?? [] }));
process.exit(); // threads of the pool wait for ever
