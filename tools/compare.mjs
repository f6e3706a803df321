/**
 * Reduced exploration against plain enumeration on generated programs.
 *
 *   node tools/compare.mjs [--programs N] [--model sc|tso] [--seed N] [--families a,b] [--max-runs N] [--show N]
 *
 * N programs, shared out among the families, under each memory model, or under the one that is named. The seed
 * is printed; the same seed is the same programs. Exit code 1 if any program differs; the first ones are made smaller and shown.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runnerImport } from 'vite';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const { values } = parseArgs({
  options: {
    programs: { type: 'string', default: '5000' },
    model: { type: 'string' },
    seed: { type: 'string', default: '1' },
    families: { type: 'string' },
    'max-runs': { type: 'string', default: '20000' },
    show: { type: 'string', default: '1' },
  },
});

/** @param {string} text @param {string} name */
function number(text, name) {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    process.stderr.write(`--${name} takes a number, not '${text}'\n`);
    process.exit(2);
  }
  return value;
}

const { module } = await runnerImport(`${ROOT}test/compare/campaign.ts`, {
  configFile: false,
  root: ROOT,
  logLevel: 'error',
});
const { FAMILY_NAMES, run } = module;
const families = values.families?.split(',') ?? FAMILY_NAMES;
const unknown = families.find((name) => !FAMILY_NAMES.includes(name));
if (unknown !== undefined) {
  process.stderr.write(`no family '${unknown}'; there are ${FAMILY_NAMES.join(', ')}\n`);
  process.exit(2);
}
const models = values.model === undefined ? ['sc', 'tso'] : [values.model];
if (models.some((name) => name !== 'sc' && name !== 'tso')) {
  process.stderr.write(`no memory model '${values.model}'; there are sc and tso\n`);
  process.exit(2);
}
for (const model of models) {
  const { mismatches } = run({
    programs: Math.ceil(number(values.programs, 'programs') / families.length),
    model,
    seed: number(values.seed, 'seed'),
    maxRuns: number(values['max-runs'], 'max-runs'),
    show: number(values.show, 'show'),
    families,
    print: (text) => process.stdout.write(text),
  });
  if (mismatches > 0) process.exitCode = 1;
}
