/**
 * What takes too long for every change: all known counts, the largest included, a long comparison of the
 * engines with plain enumeration under both memory models and of their counts with those of random programs;
 * which protections are needed; and all counterexamples asked back. Exit code 1 if anything differs.
 *
 *   npm run nightly [-- --programs N] [--seed N]     N generated programs for each memory model
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runnerImport } from 'vite';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    programs: { type: 'string', default: '20000' },
    seed: { type: 'string', default: String(Math.floor(Date.now() / 86_400_000)) },
  },
});

const { module } = await runnerImport(`${ROOT}test/explore/nightly.ts`, {
  configFile: false,
  root: ROOT,
  logLevel: 'error',
});
const wrong = module.nightlyCounts((/** @type {string} */ text) => process.stdout.write(text));
if (wrong > 0) process.exitCode = 1;

for (const model of ['sc', 'tso']) {
  const { status } = spawnSync(
    process.execPath,
    ['tools/compare.mjs', '--model', model, '--programs', values.programs, '--seed', values.seed],
    { cwd: ROOT, stdio: 'inherit' },
  );
  if (status !== 0) process.exitCode = 1;
}

const { status } = spawnSync(process.execPath, ['tools/protections.mjs', '--check'], {
  cwd: ROOT,
  stdio: 'inherit',
});
if (status !== 0) process.exitCode = 1;

/** Tests that do less on other occasions. */
const env = {
  ...process.env,
  GRACEWALK_ALL: '1',
  GRACEWALK_PROGRAMS: '3000',
  GRACEWALK_SEED: values.seed,
};
const tests = ['test/ask/round-trip.test.ts', 'test/explore/counts-random.test.ts'];
const tested = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...tests], {
  cwd: ROOT,
  stdio: 'inherit',
  env,
});
if (tested.status !== 0) process.exitCode = 1;
