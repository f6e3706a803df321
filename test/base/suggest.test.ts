import { expect, test } from 'vitest';
import { editDistance, suggest } from '../../src/base/suggest.ts';

test('a swap of neighbours counts once', () => {
  expect(editDistance('check', 'chekc')).toBe(1);
  expect(editDistance('check', 'chk')).toBe(2);
  expect(editDistance('', 'abc')).toBe(3);
});

test('only names that are close are suggested', () => {
  const verbs = ['check', 'replay'];
  expect(suggest('chekc', verbs)).toBe('check');
  expect(suggest('CHECK', verbs)).toBe('check');
  expect(suggest('raplay', verbs)).toBe('replay');
  expect(suggest('exlore', verbs)).toBeNull();
  expect(suggest('x', verbs)).toBeNull();
});

test('the beginning of a name is enough', () => {
  const names = ['gup-fast-vs-munmap', 'pv-tlb-flush'];
  expect(suggest('gup-fsat', names)).toBe('gup-fast-vs-munmap');
  expect(suggest('pv-tlb', names)).toBe('pv-tlb-flush');
  expect(suggest('two', ['atomic', 'two steps'])).toBe('two steps');
});

test('a few letters that are nearly a beginning are no beginning', () => {
  expect(suggest('foo', ['folio_put', 'fork-gupfast-cow'])).toBeNull();
  expect(suggest('fol', ['folio_put'])).toBe('folio_put');
  expect(suggest('rcv', ['rcu'])).toBe('rcu');
});
