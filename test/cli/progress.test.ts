import { expect, test } from 'vitest';
import { ProgressDisplay, progressText } from '../../src/cli/progress.ts';

const message = {
  kind: 'progress',
  scenario: 'pv-tlb-flush',
  variant: 'pv, rcu',
  progress: { runs: 41_203, steps: 1_234_567, ms: 6400, phase: 'exploring', estimate: 0.256 },
} as const;

test('progress says what has been done', () => {
  expect(progressText(message)).toBe(
    'pv-tlb-flush / pv, rcu  41,203 runs  1,234,567 steps  0:06  exploring  perhaps 25 %',
  );
});

test('progress has no estimate where there is none', () => {
  const unknown = { ...message, progress: { ...message.progress, estimate: null } };
  expect(progressText(unknown)).toMatch(/exploring$/);
});

/** How many lines are written if something is to be told every 100 ms for 10 s. */
function linesIn10s(isTTY: boolean, asked?: number | 'off'): number {
  let lines = 0;
  const display = new ProgressDisplay({ isTTY, write: () => lines++ }, asked);
  for (let now = 0; now < 10_000; now += 100) display.show(message, now);
  return lines;
}

test('a terminal is told at most twice a second', () => {
  expect(linesIn10s(true)).toBe(20);
  expect(linesIn10s(true, 2)).toBe(5);
});

test('a pipe is told only if somebody asked', () => {
  expect(linesIn10s(false)).toBe(0);
  expect(linesIn10s(false, 2)).toBe(5);
});

test('--progress off is silent everywhere', () => {
  expect(linesIn10s(true, 'off')).toBe(0);
  expect(linesIn10s(false, 'off')).toBe(0);
});
