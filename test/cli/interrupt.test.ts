import { expect, test } from 'vitest';
import { FIXTURES, ROOT, fixture, gracewalk, type RunOptions } from './gracewalk.ts';

/** Sends a signal once the search of `variant` is under way. */
function interruptAt(variant: string, signal: NodeJS.Signals): RunOptions {
  let sent = false;
  return {
    watch: (child, stderr) => {
      if (sent || !stderr().includes(`/ ${variant}`)) return;
      sent = true;
      child.kill(signal);
    },
  };
}

test.each(['SIGINT', 'SIGTERM'] as const)('%s ends a search with what is known', async (signal) => {
  const args = ['check', fixture('long'), '--progress', '0.5'];
  const { code, stdout, stderr } = await gracewalk(args, interruptAt('endless', signal));
  expect(stdout).toMatch(/quick +safe/);
  expect(stdout).toMatch(/endless +INCONCLUSIVE/);
  expect(stdout).not.toContain('not begun');
  expect(stdout).toContain('Not checked: 1 variant.');
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(code).toBe(3);
});

test('--json is a complete document after Ctrl-C', async () => {
  const args = ['check', fixture('long'), '--progress', '0.5', '--json'];
  const { code, stdout } = await gracewalk(args, interruptAt('endless', 'SIGINT'));
  const { ok, results } = JSON.parse(stdout) as { ok: boolean; results: { verdict: string }[] };
  expect(results.map(({ verdict }) => verdict)).toEqual(['safe', 'inconclusive']);
  expect(ok).toBe(false);
  expect(code).toBe(3);
});

test('--ktap after Ctrl-C keeps its plan: what was not checked is not ok', async () => {
  const args = ['check', fixture('long'), '--progress', '0.5', '--ktap'];
  const { code, stdout } = await gracewalk(args, interruptAt('endless', 'SIGINT'));
  const lines = stdout.replace(/\n *# tried\.$/m, '').split('\n');
  expect(lines.slice(2, -1)).toEqual([
    '    KTAP version 1',
    '    # Subtest: long',
    '    1..3',
    '    ok 1 quick',
    '    # long / endless: inconclusive, interrupted',
    expect.stringMatching(/^ {4}# No violation in [\d,]+ runs, [\d,]+ steps; other runs were not/),
    '    # This is not a pass.  It was interrupted; run it again to the end.',
    '    not ok 2 endless # inconclusive, interrupted',
    '    not ok 3 not begun # not checked',
    'not ok 1 long',
  ]);
  expect(code).toBe(3);
});

test('--quiet after Ctrl-C names what is not known', async () => {
  const args = ['check', fixture('long'), '--progress', '0.5', '--quiet'];
  const { code, stdout } = await gracewalk(args, interruptAt('endless', 'SIGINT'));
  expect(stdout).toBe('long / endless: inconclusive, interrupted\nlong / not begun: not checked\n');
  expect(code).toBe(3);
});

test('--json=lines after Ctrl-C ends with its last line', async () => {
  const args = ['check', fixture('long'), '--json=lines', '--progress', '0.5'];
  let sent = false;
  const { code, stdout } = await gracewalk(args, {
    watch: (child) => {
      child.stdout?.on('data', (text: string) => {
        if (sent || !text.includes('"type":"progress"')) return;
        sent = true;
        child.kill('SIGINT');
      });
    },
  });
  const lines = stdout.trimEnd().split('\n').slice(-2);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ type: 'result', verdict: 'inconclusive' });
  expect(JSON.parse(lines[1] ?? '')).toEqual({ type: 'end', ok: false, notChecked: 1 });
  expect(code).toBe(3);
});

test('a violation found before Ctrl-C is still the answer', async () => {
  const args = ['check', fixture('irqs-left-off'), fixture('long'), '--progress', '0.5'];
  const { code, stdout } = await gracewalk(args, interruptAt('endless', 'SIGINT'));
  expect(stdout).toContain('CPU0 ends with interrupts off.');
  expect(stdout).toMatch(/endless +INCONCLUSIVE/);
  expect(code).toBe(1);
});

test('--bisect skips what was interrupted', async () => {
  const args = ['check', fixture('long'), '--progress', '0.5', '--bisect'];
  expect((await gracewalk(args, interruptAt('endless', 'SIGINT'))).code).toBe(125);
});

test('an actor that loops without a yield cannot stop Ctrl-C', async () => {
  const { code, stderr } = await gracewalk(['check', fixture('stuck')], {
    watch: (() => {
      let begun = false;
      return (child) => {
        if (begun) return;
        begun = true;
        // The program says nothing meanwhile; the second Ctrl-C does not wait.
        setTimeout(() => child.kill('SIGINT'), 4000);
        setTimeout(() => child.kill('SIGINT'), 4300);
      };
    })(),
  });
  expect(stderr).toContain('a loop without `yield*`');
  expect(code).toBe(3);
});

test('a thread that dies in the middle of a search is a fault, and what it found before is told', async () => {
  const dying = `--import=${ROOT}${FIXTURES}/dying-thread.mjs`;
  const options = { env: { NODE_OPTIONS: dying } };
  const args = ['check', fixture('counter'), fixture('long')];
  const { code, stdout, stderr } = await gracewalk(args, options);
  expect(stdout).toMatch(/atomic +safe/);
  expect(stdout).toContain('Not checked: 2 variants.');
  expect(stderr).toBe(`error: a thread of the search ended without a word (code 9)
note: what has a result was finished before; the rest was not checked
help: run it again; if that does not help, please report it with the
      scenario
`);
  expect(code).toBe(5);
  const ktap = await gracewalk([...args, '--ktap'], options);
  expect(ktap.stdout).toContain('    not ok 2 endless # not checked\n');
  expect(ktap.stdout).toContain(
    'not ok 3 gracewalk # ERROR a thread of the search ended without a word (code 9)\n',
  );
  expect(ktap.code).toBe(5);
});

test('running out of memory is inconclusive', async () => {
  const args = ['check', fixture('greedy'), '--limit', 'memory=64M'];
  const { code, stderr } = await gracewalk(args);
  expect(stderr).toContain('ran out of memory');
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(code).toBe(3);
});

test('a memory limit ends the search before the heap does', async () => {
  const args = ['check', fixture('hoards'), '--limit', 'memory=64M'];
  const { code, stdout, stderr } = await gracewalk(args);
  expect(stdout).toMatch(/only +INCONCLUSIVE/);
  expect(stdout).toContain('stopped at memory=64M');
  expect(stderr).toBe('');
  expect(code).toBe(3);
});

test('without a limit, memory is foreseen from the size of the heap', async () => {
  const { code, stdout, stderr } = await gracewalk(['check', fixture('hoards')], {
    env: { NODE_OPTIONS: '--max-old-space-size=120' },
  });
  expect(stdout).toContain('stopped at memory=');
  expect(stderr).toBe('');
  expect(code).toBe(3);
});
