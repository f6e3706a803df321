import { closeSync, existsSync, openSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fixture, gracewalk, type RunOptions } from './gracewalk.ts';

test('stdout has the result and stderr nothing, if all is well', async () => {
  const { code, stdout, stderr } = await gracewalk(['check', fixture('counter')]);
  expect(stdout).toMatch(/atomic +safe/);
  expect(stderr).toBe('');
  expect(code).toBe(0);
});

test('what a scenario prints goes to stderr', async () => {
  const { code, stdout, stderr } = await gracewalk(['check', fixture('talks'), '--json']);
  expect(() => JSON.parse(stdout) as unknown).not.toThrow();
  expect(stderr).toBe('hello from a scenario\n');
  expect(code).toBe(0);
});

test('a reader that has seen enough ends the output quietly', async () => {
  const { code, stderr } = await gracewalk(['check', fixture('irqs-left-off')], {
    watch: (child) => child.stdout?.destroy(),
  });
  expect(stderr).toBe('');
  // Nobody saw the result, but a script still gets its code.
  expect(code).toBe(1);
});

test.each([['--help'], ['--version'], ['check', '--help']])(
  'a closed pipe does not hurt %s %s',
  async (...args) => {
    const { code, stderr } = await gracewalk(args, {
      watch: (child) => child.stdout?.destroy(),
    });
    expect(stderr).toBe('');
    expect(code).toBe(0);
  },
);

test('a closed stderr does not hurt either', async () => {
  const { code, stdout } = await gracewalk(['check', fixture('talks'), fixture('counter')], {
    watch: (child) => child.stderr?.destroy(),
  });
  expect(stdout).toMatch(/atomic +safe/);
  expect(code).toBe(0);
});

test.skipIf(!existsSync('/dev/full')).each([[], ['--json'], ['--json=lines'], ['--ktap']])(
  'a full disk is said, and is no success %s',
  async (...form) => {
    const full = openSync('/dev/full', 'w');
    const { code, stderr } = await gracewalk(['check', fixture('counter'), ...form], {
      stdio: ['ignore', full, 'pipe'],
    });
    closeSync(full);
    expect(stderr).toContain('no space left on the device');
    expect(stderr).toContain('[E701]');
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(2);
  },
);

/** As `gracewalk ... | head -1` does, if it is given: reads a line, then closes the pipe. */
function readOneLine(): RunOptions {
  let watched = false;
  return {
    watch: (child) => {
      if (watched) return;
      watched = true;
      child.stdout?.once('data', () => child.stdout?.destroy());
    },
  };
}

test.each([
  // Nothing is written before all is known.
  [[], 1],
  [['--json'], 1],
  [['--ktap'], 1],
  [['--quiet'], 1],
])('head -1 of the result %j ends quietly with its code', async (form, expected) => {
  const args = ['check', fixture('irqs-left-off'), ...form];
  const { code, stderr } = await gracewalk(args, readOneLine());
  expect(stderr).toBe('');
  expect(code).toBe(expected);
});

test('head -1 of --json=lines ends the search: the rest is not known', async () => {
  const args = ['check', fixture('long'), '--json=lines', '--progress', '0.5'];
  const { code, stdout, stderr } = await gracewalk(args, readOneLine());
  expect(stdout).toContain('"type":"start"');
  expect(stdout).not.toContain('"type":"end"');
  expect(stderr).toBe('');
  expect(code).toBe(3);
});

test('progress in a pipe is silent unless it was asked for', async () => {
  const args = ['check', fixture('long'), '--variant', 'endless', '--limit', 'time=2s'];
  expect((await gracewalk(args)).stderr).toBe('');
  const { stderr } = await gracewalk([...args, '--progress', '0.5']);
  expect(stderr.split('\n')[0]).toMatch(/^long \/ endless {2}[\d,]+ runs {2}[\d,]+ steps {2}0:0\d/);
  expect(stderr).not.toContain('\x1b');
  expect((await gracewalk([...args, '--progress', 'off'])).stderr).toBe('');
});
