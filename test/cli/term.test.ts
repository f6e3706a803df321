import { expect, test } from 'vitest';
import { StatusLine, clock, colorWanted, painter } from '../../src/cli/term.ts';

test.each([
  // mode, environment, terminal, coloured
  ['auto', {}, true, true],
  ['auto', {}, false, false],
  ['auto', { TERM: 'dumb' }, true, false],
  ['auto', { NO_COLOR: '1' }, true, false],
  ['auto', { NO_COLOR: '' }, true, true],
  ['auto', { FORCE_COLOR: '1' }, false, true],
  ['auto', { FORCE_COLOR: '' }, false, true],
  ['auto', { FORCE_COLOR: '0' }, true, false],
  ['auto', { NO_COLOR: '1', FORCE_COLOR: '1' }, true, false],
  ['always', { NO_COLOR: '1' }, false, true],
  ['never', { FORCE_COLOR: '1' }, true, false],
] as const)('--color %s with %o on a terminal (%s): %s', (mode, env, terminal, colored) => {
  expect(colorWanted(mode, env, terminal)).toBe(colored);
});

function recorder(isTTY: boolean, columns = 80): { stream: RecordingStream; text: () => string } {
  let text = '';
  return { stream: { isTTY, columns, write: (more) => (text += more) }, text: () => text };
}

interface RecordingStream {
  readonly isTTY: boolean;
  readonly columns: number;
  write(text: string): unknown;
}

test('a status line on a terminal is rewritten in place and never wraps', () => {
  const { stream, text } = recorder(true, 8);
  const line = new StatusLine(stream);
  line.clear();
  line.show('0123456789');
  line.show('ab');
  line.clear();
  line.clear();
  expect(text()).toBe('\r\x1b[K0123456\r\x1b[Kab\r\x1b[K');
});

test('a terminal of unknown size gets 80 columns', () => {
  const { stream, text } = recorder(true, 0);
  new StatusLine(stream).show('x'.repeat(200));
  expect(text()).toBe(`\r\x1b[K${'x'.repeat(79)}`);
});

test('a status line elsewhere is lines without control characters', () => {
  const { stream, text } = recorder(false);
  const line = new StatusLine(stream);
  line.show('one');
  line.show('two');
  line.clear();
  expect(text()).toBe('one\ntwo\n');
});

test('times as people write them', () => {
  expect([0, 6000, 366_000, 3_725_999].map(clock)).toEqual(['0:00', '0:06', '6:06', '1:02:05']);
});

test('colour is never the only carrier of meaning', () => {
  expect(painter(false).bad('FAILS')).toBe('FAILS');
  expect(painter(true).bad('FAILS')).toBe('\x1b[31mFAILS\x1b[0m');
});
