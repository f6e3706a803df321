import { expect, test } from 'vitest';
import { fixture, gracewalk, type RunOptions } from './gracewalk.ts';

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

test('an actor that loops without a yield cannot stop Ctrl-C', async () => {
  const { code, stderr } = await gracewalk(['check', fixture('stuck')], {
    watch: (() => {
      let begun = false;
      return (child) => {
        if (begun) return;
        begun = true;
        // The program says nothing meanwhile; the second Ctrl-C does not wait.
        setTimeout(() => child.kill('SIGINT'), 1500);
        setTimeout(() => child.kill('SIGINT'), 1700);
      };
    })(),
  });
  expect(stderr).toContain('a loop without `yield*`');
  expect(code).toBe(3);
});

test('running out of memory is inconclusive', async () => {
  const args = ['check', fixture('greedy'), '--limit', 'memory=64M'];
  const { code, stderr } = await gracewalk(args);
  expect(stderr).toContain('ran out of memory');
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(code).toBe(3);
});

test('a memory limit ends the search before the heap does', async () => {
  const args = ['check', fixture('long'), '--variant', 'endless', '--limit', 'memory=64M,time=60s'];
  const { code, stdout, stderr } = await gracewalk(args);
  expect(stdout).toMatch(/endless +INCONCLUSIVE/);
  expect(stdout).toContain('memory');
  expect(stderr).toBe('');
  expect(code).toBe(3);
});

test('without a limit, memory is foreseen from the size of the heap', async () => {
  const { code, stdout, stderr } = await gracewalk(
    ['check', fixture('long'), '--variant', 'endless', '--limit', 'time=60s'],
    { env: { NODE_OPTIONS: '--max-old-space-size=120' } },
  );
  expect(stdout).toContain('stopped at memory=');
  expect(stderr).toBe('');
  expect(code).toBe(3);
});
