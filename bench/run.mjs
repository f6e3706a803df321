/**
 * npm run bench [-- [-j N] [--engine source|optimal] [--profile] name ...]
 *
 * Speed and memory of the built explorer on programs with known execution counts and on the built-in
 * scenarios. Compare ratios, not seconds, across machines.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ON_REQUEST, PROGRAMS, SCENARIOS } from './programs.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const { values, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: 'string', short: 'j', default: '1' },
    engine: { type: 'string', default: 'source' },
    profile: { type: 'boolean', default: false },
  },
});

/** @param {string} what @returns {import('./programs.mjs').Measured} */
function measure(what) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      '--import',
      './bench/strip.mjs',
      'bench/one.mjs',
      JSON.stringify({
        what,
        engine: values.engine,
        jobs: Number(values.jobs),
        profile: values.profile,
      }),
    ],
    { cwd: root, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`${what} could not be measured:\n${stderr}`);
  return JSON.parse(stdout);
}

const rounded = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const grouped = (/** @type {number} */ value) => rounded.format(value).replaceAll(',', ' ');

const COLUMNS = [
  ['program', 22],
  ['runs', 10],
  ['sleep-blocked', 14],
  ['steps', 12],
  ['seconds', 8],
  ['runs/s', 11],
  ['steps/s', 12],
  ['peak MB', 8],
];

/** @param {readonly string[]} cells */
function row(cells) {
  const padded = cells.slice(0, COLUMNS.length).map((cell, at) => {
    const width = /** @type {number} */ (COLUMNS[at][1]);
    return at === 0 ? cell.padEnd(width) : cell.padStart(width);
  });
  console.log([...padded, ...cells.slice(COLUMNS.length)].join(' ').trimEnd());
}

const scenarios = SCENARIOS.filter((file) => existsSync(`${root}${file}`));
const programs =
  wanted.length === 0
    ? [...PROGRAMS, ...scenarios]
    : [...PROGRAMS, ...ON_REQUEST, ...scenarios].filter((name) =>
        wanted.some((part) => name.includes(part)),
      );

row(COLUMNS.map(([name]) => String(name)));
let failed = false;
for (const what of programs) {
  try {
    const { title, runs, steps, sleepBlocked, seconds, rss, note, profile } = measure(what);
    const rates = [grouped(runs / seconds), grouped(steps / seconds)];
    const counts = [grouped(runs), grouped(sleepBlocked), grouped(steps)];
    row([title, ...counts, seconds.toFixed(2), ...rates, grouped(rss / 2 ** 20), note]);
    for (const line of profile) console.log(line);
  } catch (error) {
    failed = true;
    console.error(error instanceof Error ? error.message : error);
  }
}
if (failed) process.exitCode = 1;
