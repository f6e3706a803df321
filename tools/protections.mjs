/**
 * Which protections does the protocol code need? Takes each away from every safe variant of the built-in
 * scenarios, and where it is needed in none, together with each other one in the smallest of those, until
 * something goes wrong. Writes scenarios/protections.json and, from that, docs/protections.md.
 *
 *   npm run protections                writes both, in two processes
 *   npm run protections -- --check     exit code 1 if they would change
 */
import { fork } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runnerImport } from 'vite';
import { builtInScenarios } from '../dist/cli/find-scenarios.js';
import { loadModule } from '../dist/cli/load/load-scenario.js';
import { missing, partners, survey, without } from '../dist/why/survey.js';

/** @typedef {import('../src/why/survey.ts').Surveyed} Surveyed */
/** @typedef {{ name: string, file: string, variant: string, expected: string }} Place */

/** In so many of the variants that come by it, the smallest, a protection is taken away with each other one. */
const PAIRED = 10;

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** @type {Map<string, Promise<any>>} */
const loaded = new Map();
/** @param {string} file */
function scenarioAt(file) {
  const known = loaded.get(file) ?? loadModule(file).then((module) => module['default']);
  loaded.set(file, known);
  return known;
}

/** What a process is asked for, one at a time. */
const TASKS = {
  /** @param {Place} place */
  async place({ file, variant, expected }) {
    const scenario = await scenarioAt(file);
    return expected === 'safe' ? survey(scenario, variant) : missing(scenario, variant);
  },
  /**
   * The first set of two that is needed.
   *
   * @param {{ name: string, all: { place: Place, with: string[] }[] }} asked
   */
  async pairs({ name, all }) {
    const undecided = [];
    for (const { place, with: others } of all) {
      const scenario = await scenarioAt(place.file);
      for (const other of others) {
        const outcome = without(scenario, place.variant, [name, other]);
        const found = { scenario: place.name, variant: place.variant, with: other };
        if ('kind' in outcome) return { name, found: { ...found, ...outcome }, undecided };
        if ('undecided' in outcome) undecided.push({ ...found, reason: outcome.undecided });
      }
    }
    return { name, found: null, undecided };
  },
};

if (process.send) {
  process.on('message', (/** @type {any} */ { kind, asked }) => {
    const task = TASKS[/** @type {keyof typeof TASKS} */ (kind)];
    void task(asked).then((answer) => process.send?.(answer));
  });
} else {
  await main();
}

/**
 * Has every task done by one of the processes.
 *
 * @param {keyof typeof TASKS} kind @param {any[]} tasks @returns {Promise<any[]>} in the order of the tasks
 */
async function done(kind, tasks) {
  /** @type {any[]} */
  const results = [];
  let next = 0;
  const worker = async () => {
    const child = fork(fileURLToPath(import.meta.url));
    while (next < tasks.length) {
      const at = next++;
      const asked = tasks[at];
      results[at] = await new Promise((resolve, reject) => {
        child.once('message', resolve);
        child.once('exit', () =>
          reject(new Error(`ended over ${JSON.stringify(asked).slice(0, 200)}`)),
        );
        child.send({ kind, asked });
      });
      child.removeAllListeners('exit');
    }
    child.disconnect();
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
  return results;
}

async function main() {
  const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
  /** @type {Place[]} */
  const places = [];
  for (const { name, path } of builtInScenarios(`${ROOT}scenarios`)) {
    const { definition } = await scenarioAt(path);
    for (const [variant, { expected }] of Object.entries(definition.variants)) {
      places.push({ name, file: path, variant, expected });
    }
  }
  const safe = places.filter(({ expected }) => expected === 'safe');
  const failing = places.filter(({ expected }) => expected !== 'safe');
  /** @type {Surveyed[]} */
  const surveyed = await done('place', safe);
  const twins = await done('place', failing);
  const { module: page } = await runnerImport(`${ROOT}test/why/protections.ts`, {
    configFile: false,
    root: ROOT,
    logLevel: 'error',
  });
  const rows = page.rowsOf(
    surveyed,
    failing.map(({ name, variant }, at) => ({ place: `${name} / ${variant}`, without: twins[at] })),
  );
  const smallest = surveyed
    .map((one, at) => ({ one, place: safe[at] }))
    .sort((a, b) => a.one.runs - b.one.runs);
  const open = rows.filter((/** @type {any} */ row) => row.alone === null);
  const asked = open.map(({ name }) => ({
    name,
    all: smallest
      .filter(({ one }) => one.protections.some((each) => each.name === name))
      .slice(0, PAIRED)
      .map(({ one, place }) => ({ place, with: partners(one, name) })),
  }));
  for (const { name, found, undecided } of await done('pairs', asked)) {
    const row = rows.find((/** @type {any} */ each) => each.name === name);
    row.set = found;
    row.undecided.push(...undecided);
  }
  const data = `${JSON.stringify({ variants: safe.length, paired: PAIRED, rows }, null, 2)}\n`;
  const reasons = JSON.parse(readFileSync(`${ROOT}scenarios/spare-protections.json`, 'utf8'));
  const files = {
    'scenarios/protections.json': data,
    'docs/protections.md': page.protectionsPage(JSON.parse(data), reasons),
  };
  for (const [path, text] of Object.entries(files)) {
    const file = ROOT + path;
    if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
    if (!values.check) writeFileSync(file, text);
    else process.exitCode = 1;
    console.log(values.check ? `${path} is not what npm run protections writes` : `wrote ${path}`);
  }
  for (const problem of page.problems(rows, reasons)) {
    console.log(problem);
    process.exitCode = 1;
  }
}
