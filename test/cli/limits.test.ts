import { expect, test } from 'vitest';
import { GracewalkError } from '../../src/base/errors.ts';
import { parseLimits } from '../../src/cli/limits.ts';
import { parseProgress, parseWidth } from '../../src/cli/options.ts';

function refusal(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    if (!(error instanceof GracewalkError)) throw error;
    const { notes = [], help } = error.details;
    return [`${error.code}: ${error.message}`, ...notes, help].join('\n');
  }
  return 'accepted';
}

test('limits of every kind can be given together', () => {
  expect(parseLimits('runs=1e6,steps=200,time=60s,switches=0,memory=2G')).toEqual({
    runs: 1_000_000,
    steps: 200,
    time: 60_000,
    switches: 0,
    memory: 2 * 1024 ** 3,
  });
});

test('units of time and memory', () => {
  const times = ['1ms', '1.5s', '2m', '1h'].map((time) => parseLimits(`time=${time}`).time);
  expect(times).toEqual([1, 1500, 120_000, 3_600_000]);
  const sizes = ['512M', '512MB', '512MiB', '512m', '0.5G'].map(
    (size) => parseLimits(`memory=${size}`).memory,
  );
  expect(new Set(sizes)).toEqual(new Set([512 * 1024 ** 2]));
});

test('a later --limit adds to an earlier one and overrides it', () => {
  const first = parseLimits('runs=1,time=1s');
  expect(parseLimits('runs=2', first)).toEqual({ runs: 2, time: 1000 });
});

test('an unknown limit is answered with the known ones', () => {
  expect(refusal(() => parseLimits('states=100'))).toMatchInlineSnapshot(`
    "E107: bad --limit 'states=100'
    there is no limit 'states'; did you mean runs?
    limits are runs=1e6, steps=1e8, time=60s, switches=3, memory=2G"
  `);
  expect(refusal(() => parseLimits('swithces=1'))).toContain('did you mean switches?');
});

test.each([
  'runs',
  'runs=',
  'runs=many',
  'runs=-1',
  'runs=0',
  'runs=1.5',
  'runs=1e30',
  'runs=5s',
  'time=60',
  'time=0s',
  'memory=2',
  'memory=1M',
  'runs=1=2',
  '',
  'runs=1,',
])('--limit %s is refused', (text) => {
  expect(refusal(() => parseLimits(text))).toMatch(/^E107: bad --limit/);
});

test('a width below what one column needs is refused, with what is allowed', () => {
  expect(parseWidth('48')).toBe(48);
  expect(refusal(() => parseWidth('47'))).toMatchInlineSnapshot(`
    "E107: bad --width '47'
    a width is a whole number of characters from 48 to 1000
    without it, 75: that fits a commit message"
  `);
  for (const text of ['', '-75', '75.5', 'wide', '1e2', '99999']) {
    expect(refusal(() => parseWidth(text))).toMatch(/^E107: bad --width/);
  }
});

test('progress takes seconds or off', () => {
  expect(['off', '2', '2s', '0.5'].map(parseProgress)).toEqual(['off', 2, 2, 0.5]);
  expect(refusal(() => parseProgress('0.1'))).toMatch(/at least 0.5/);
  expect(refusal(() => parseProgress('often'))).toMatch(/^E107/);
});
