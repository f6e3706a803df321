import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { complaint as complaintOfProcess } from './gracewalk.ts';
import { ROOT, complaint as complaintOf, fixture, gracewalk } from './in-process.ts';

/**
 * Every error that a person can meet, from a real bad input: what, where, why, what to do, and the exit
 * code. The text is part of the product; `vitest -u` shows a change of it in review.
 */

let folder = '';
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'gracewalk-'))));
afterAll(() => rmSync(folder, { recursive: true }));

const complaint = (...args: string[]): Promise<string> => complaintOf(args, folder);
/** Of what a thread of its own is for, and of what is told by the stack above a scenario. */
const complaintAlone = (...args: string[]): Promise<string> => complaintOfProcess(args, folder);

test('nothing to do', async () => {
  expect(await complaint()).toMatchInlineSnapshot(`
    "error: nothing to do
    note: gracewalk check [options] [file...]
    note: gracewalk ask [options] <file> [diagram]
    note: gracewalk replay [options] <token> [file]
    note: gracewalk why [options] <file> <variant>
    note: gracewalk matrix [options] [file...]
    note: gracewalk bugs [options] [id]
    note: gracewalk new [options] [name]
    note: gracewalk decode [options] <arch> <value...>
    note: gracewalk walk [options] <image> [address]
    note: gracewalk explain [options] [name]
    help: gracewalk check explores all built-in scenarios; gracewalk --help
          says more                                                     [E115]
    exit 2"
  `);
});

test('an unknown verb', async () => {
  expect(await complaint('chekc', fixture('counter'))).toMatchInlineSnapshot(`
    "error: 'chekc' is no verb, no file and no built-in scenario
    note: verbs are check, ask, why, replay, matrix, new, bugs, decode, walk,
          explain, help
    help: did you mean check?                                           [E110]
    exit 2"
  `);
});

test('an unknown option', async () => {
  expect(await complaint('check', '--widht', '80')).toMatchInlineSnapshot(`
    "error: unknown option '--widht'
    help: did you mean --width?                                         [E115]
    exit 2"
  `);
});

test('a verb after its options', async () => {
  expect(await complaint('--width', '80', 'check', 'x.ts')).toMatchInlineSnapshot(`
    "error: the verb check comes first
    help: gracewalk check --width 80 x.ts                               [E115]
    exit 2"
  `);
});

test('E110: an unknown scenario', async () => {
  expect(await complaint('check', 'pv-tbl-flush')).toMatchInlineSnapshot(`
    "error: no built-in scenario 'pv-tbl-flush'
    help: did you mean pv-tlb-flush?                                    [E110]
    exit 2"
  `);
});

test('E114: a file that is not there', async () => {
  expect(await complaint(`${folder}/my-race.ts`)).toMatchInlineSnapshot(`
    "error: no file FOLDER/my-race.ts
    note: looked for FOLDER/my-race.ts
    help: check the path                                                [E114]
    exit 2"
  `);
});

const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;

/** Root may read everything; somebody else may not be able to read the program. */
function nobodyCanRun(): boolean {
  const { status } = spawnSync(process.execPath, [`${ROOT}dist/cli/main.js`, '--version'], {
    cwd: '/',
    uid: NOBODY,
  });
  return status === 0;
}

test.skipIf(isRoot && !nobodyCanRun())('E114: a file that cannot be read', async () => {
  const file = join(folder, 'secret.ts');
  writeFileSync(file, '');
  chmodSync(file, 0);
  chmodSync(folder, 0o755);
  const { code, stderr } = await gracewalk([file], isRoot ? { uid: NOBODY, cwd: '/' } : {});
  expect(stderr).toContain(`error: ${file} cannot be read`);
  expect(stderr).toContain(`chmod +r ${file}`);
  expect(code).toBe(2);
});

test('E114: a folder where one file is needed', async () => {
  expect(await complaint('ask', 'test/fixtures/cli')).toMatchInlineSnapshot(`
    "error: test/fixtures/cli is a folder
    help: name the files: test/fixtures/cli/*.ts                        [E114]
    exit 2"
  `);
});

test('E103: a syntax error', async () => {
  expect(await complaint('test/fixtures/load/syntax.ts')).toMatchInlineSnapshot(`
    "error: syntax error in test/fixtures/load/syntax.ts
      --> test/fixtures/load/syntax.ts:3:41
    3 | export const s: string = "é€😀"; let b: = 2;
      |                                         ^ Unexpected token \`=\`
    help: an editor marks the same place                                [E103]
    exit 2"
  `);
});

test('E103: TypeScript that needs more than the removal of types', async () => {
  expect(await complaint('test/fixtures/load/enum.ts')).toMatchInlineSnapshot(`
    "error: test/fixtures/load/enum.ts needs more than the removal of its types
      --> test/fixtures/load/enum.ts:2:15
    2 | 	const x = 1; enum Colour { Red }
      | 	             ^^^^ TypeScript enum is not supported in strip-only mode
    help: do without enum, namespace and parameter property             [E103]
    exit 2"
  `);
});

test('E103: an import of something that is not exported', async () => {
  expect(await complaint('test/fixtures/load/no-such-export.ts')).toMatchInlineSnapshot(`
    "error: test/fixtures/load/no-such-export.ts imports a name that is not exported
      --> test/fixtures/load/no-such-export.ts:3:3
    3 |   thong,
      |   ^^^^^ The requested module './neighbour.ts' does not provide an export named 'thong'
    help: check the spelling, and which module has it                   [E103]
    exit 2"
  `);
});

test('E113: an import of a file that is not there', async () => {
  expect(await complaint('test/fixtures/load/missing-neighbour.ts')).toMatchInlineSnapshot(`
    "error: test/fixtures/load/missing-neighbour.ts imports test/fixtures/load/neighbor.ts, which is not there
    note: the library is 'gracewalk', 'gracewalk/linux' and 'gracewalk/arch'
    help: other files are named relative to the importing one           [E113]
    exit 2"
  `);
});

test('E105: no default export', async () => {
  expect(await complaint('test/fixtures/load/neighbour.ts')).toMatchInlineSnapshot(`
    "error: test/fixtures/load/neighbour.ts has no default export
    help: a scenario file ends in \`export default scenario('name', { ... })\`
                                                                        [E105]
    exit 2"
  `);
});

test('E105: another kind of file', async () => {
  expect(await complaintAlone('check', './package.json')).toMatchInlineSnapshot(`
    "error: package.json is not a scenario file
    help: a scenario is a TypeScript file, my-race.ts, that ends in \`export
          default scenario(...)\`                                        [E105]
    exit 2"
  `);
});

test('E105: a scenario with a name', async () => {
  expect(await complaint(fixture('named-export'))).toMatchInlineSnapshot(`
    "error: test/fixtures/cli/named-export.ts exports its scenario as 'race'
    help: write \`export default scenario(...)\` instead of \`export const race\`
                                                                        [E105]
    exit 2"
  `);
});

test('E105: something else as default export', async () => {
  expect(await complaint(fixture('not-a-scenario'))).toMatchInlineSnapshot(`
    "error: the default export of test/fixtures/cli/not-a-scenario.ts is not a scenario
    help: a scenario file ends in \`export default scenario('name', { ... })\`
                                                                        [E105]
    exit 2"
  `);
});

test('E106: an unknown variant', async () => {
  expect(await complaint(fixture('counter'), '--variant', 'tow steps')).toMatchInlineSnapshot(`
    "error: no variant 'tow steps' in counter
    note: there are 'atomic', 'two steps'
    help: did you mean 'two steps'?                                     [E106]
    exit 2"
  `);
});

test('E106: a variant whose name was not quoted', async () => {
  expect(await complaint('check', '--variant', 'pv,', 'rcu')).toMatchInlineSnapshot(`
    "error: the variant's name 'pv,' ends in the middle
    help: quote names that have spaces: --variant 'pv, ...'             [E106]
    exit 2"
  `);
});

test('E107: a bad limit', async () => {
  expect(await complaint(fixture('counter'), '--limit', 'time=60')).toMatchInlineSnapshot(`
    "error: bad --limit 'time=60'
    note: '60' has no unit known here: time=60s (ms, s, m, h)
    help: limits are runs=1e6, steps=1e8, time=60s, switches=3, memory=2G
                                                                        [E107]
    exit 2"
  `);
});

test('E107: a bad width', async () => {
  expect(await complaint(fixture('counter'), '--width', '20')).toMatchInlineSnapshot(`
    "error: bad --width '20'
    note: a width is a whole number of characters from 48 to 1000
    help: without it, 75: that fits a commit message                    [E107]
    exit 2"
  `);
});

test('E107: an unknown expectation', async () => {
  expect(await complaint(fixture('counter'), '--expect', 'use-after-fre')).toMatchInlineSnapshot(`
    "error: bad --expect 'use-after-fre'
    note: it is safe, fails, or kinds of violation: use-after-free,
          null-dereference, double-free, stale-translation, torn-entry,
          lost-write, lost-dirty, wrong-page, refcount, leak, deadlock,
          livelock, sleep-in-atomic, lock-order, lock-leak, irq-leak,
          rcu-misuse, unordered-access, property
    help: did you mean use-after-free?                                  [E107]
    exit 2"
  `);
});

test('E107: JSON in a form that there is not', async () => {
  expect(await complaint(fixture('counter'), '--json=line')).toMatchInlineSnapshot(`
    "error: bad --json=line
    help: --json is one document, --json=lines one object per line as things
          happen                                                        [E107]
    exit 2"
  `);
});

test('E115: two forms of one result', async () => {
  expect(await complaint(fixture('counter'), '--ktap', '--quiet')).toMatchInlineSnapshot(`
    "error: --ktap and --quiet contradict each other
    note: each of --json, --ktap, --quiet is a whole form of the result
    help: leave one of them out                                         [E115]
    exit 2"
  `);
});

test.each([
  ['--json', '--ktap'],
  ['--json=lines', '--quiet'],
  ['--json', '--width', '80'],
  ['--json', '--layout', 'tagged'],
  ['--json=lines', '--detail', 'full'],
  ['--quiet', '--detail', 'min'],
  ['--quiet', '--assumptions'],
])('E115: options that contradict each other: %s %s %s', async (...options) => {
  const [first = '', second = ''] = options.filter((option) => option.startsWith('--'));
  const text = await complaint('check', fixture('counter'), ...options);
  expect(text).toContain(`${first.replace(/=.*/, '')} and ${second} contradict each other`);
  expect(text).toMatch(/\[E115\]\nexit 2$/);
});

test('E107: a bad layout', async () => {
  expect(await complaint(fixture('counter'), '--layout', 'wide')).toMatchInlineSnapshot(`
    "error: bad --layout 'wide'
    help: --layout is columns or tagged                                 [E107]
    exit 2"
  `);
});

test('E111: two scenarios with one id', async () => {
  expect(await complaint('check', fixture('same-id-a'), fixture('same-id-b')))
    .toMatchInlineSnapshot(`
      "error: two scenarios are called 'same-id'
      note: in test/fixtures/cli/same-id-a.ts
      note: in test/fixtures/cli/same-id-b.ts
      help: tokens name a scenario by its id: give one of them another    [E111]
      exit 2"
    `);
});

test('E112: a file that throws', async () => {
  expect(await complaint(fixture('throws-at-load'))).toMatchInlineSnapshot(`
    "error: the scenario threw TypeError: Cannot read properties of undefined (reading 'toFixed')
      --> test/fixtures/cli/throws-at-load.ts:4:56
    4 | export default { entries: (sizes.get('pmd') as number).toFixed() };
      |                                                        ^^^^^^^^^
    help: a scenario must not throw; --debug shows the stack            [E112]
    exit 2"
  `);
});

test('E112: an actor that throws', async () => {
  expect(await complaint(fixture('throws-in-actor'))).toMatchInlineSnapshot(`
    "error: the scenario threw TypeError: Cannot read properties of undefined (reading 'length')
      --> test/fixtures/cli/throws-in-actor.ts:14:19, variant 'only'
    14 |       return name.length;
       |                   ^^^^^^
    help: a scenario must not throw; --debug shows the stack            [E112]
    exit 2"
  `);
});

test('E112: a file that ends the process', async () => {
  expect(await complaintAlone(fixture('exits'))).toMatchInlineSnapshot(`
    "error: the scenario called process.exit()
      --> test/fixtures/cli/exits.ts:2:9
    2 | process.exit(7);
      |         ^^^^^^^
    help: a scenario file declares; it does not end the program         [E112]
    exit 2"
  `);
});

test('E112: a file that never finishes loading', async () => {
  expect(await complaintAlone(fixture('never-loads'))).toMatchInlineSnapshot(`
    "error: test/fixtures/cli/never-loads.ts never finished loading
    note: it has an \`await\` at its top level that nothing ends
    help: a scenario file declares; it does not wait                    [E112]
    exit 2"
  `);
});

test('E101: an operation that is never yielded', async () => {
  expect(await complaint(fixture('never-yielded'))).toMatchInlineSnapshot(`
    "error: local_irq_save() was called but never ran
      --> test/fixtures/cli/never-yielded.ts:11:7, variant 'only'
    11 |       local_irq_save();
       |       ^^^^^^^^^^^^^^^^ an operation does nothing until it is yielded
    help: write \`yield* local_irq_save();\`                              [E101]
    exit 2"
  `);
});

test('E102: an actor on a CPU that the machine does not have', async () => {
  expect(await complaint(fixture('unknown-cpu'))).toMatchInlineSnapshot(`
    "error: no actor 'CPU2'
      --> test/fixtures/cli/unknown-cpu.ts:6:16
    6 | export default scenario<Word>('unknown-cpu', {
      |                ^^^^^^^^
    note: machine x86-64, 2 CPUs has CPU0 and CPU1
    note: variant 'only'
    help: use CPU0/cpu2 to run a second task on CPU0, or cpus: 3        [E102]
    exit 2"
  `);
});

test('E301: a spin loop', async () => {
  expect(await complaint(fixture('spins'))).toMatchInlineSnapshot(`
    "error: spin loop in CPU1 makes no progress
      --> test/fixtures/cli/spins.ts:14:22, variant 'only'
    14 |       while ((yield* READ_ONCE(lock)) !== 0);
       |                      ^^^^^^^^^^^^^^^ read the same value 12 times
    note: each further round would be explored as a new run, without end
    help: say what is waited for: \`yield* spin_until([word], (value) => ...)\`;
          the engine then explores each change once instead of each retry; a
          whole round that is to be repeated goes in \`yield* retry(function* ()
          {...})\`                                                       [E301]
    exit 2"
  `);
});

test('E303: an actor that is not deterministic', async () => {
  expect(await complaint(fixture('not-deterministic'))).toMatchInlineSnapshot(`
    "error: the scenario is not deterministic
      --> variant 'only'
    note: with the same results, CPU0 did different things:
    note: first  time, step 2: read(x)
    note: second time, step 2: write(x, 2)
    help: an actor may depend only on what its yield*s return; look for a
          variable that is declared outside the actor and changed inside it
                                                                        [E303]
    exit 5"
  `);
});

test('E601: not a token', async () => {
  expect(await complaint('replay', 'pv-tlb-flush')).toMatchInlineSnapshot(`
    "error: 'pv-tlb-flush' is no replay token
    note: a token looks like pv-tlb-flush/pv,norcu@b3c9f1/1.a5-k3.b7-0f
    help: copy the token whole, as \`check\` printed it behind "Replay: gracewalk
          replay"                                                       [E601]
    exit 2"
  `);
});

test('one bad file does not keep the others from being checked', async () => {
  const files = [fixture('named-export'), fixture('counter'), fixture('spins'), fixture('talks')];
  const { code, stdout, stderr } = await gracewalk(['check', ...files]);
  expect(stdout).toMatch(/two steps +fails/i);
  expect(stdout).toContain('talks');
  expect(stderr).toContain('[E105]');
  expect(stderr).toContain('[E301]');
  expect(code).toBe(2);
});

test('--debug adds the stack', async () => {
  const { stderr } = await gracewalk(['check', fixture('throws-in-actor'), '--debug']);
  expect(stderr).toMatch(/^\s+at CPU0 \(.*throws-in-actor\.ts:14:19\)$/m);
});
