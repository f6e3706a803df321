import { expect, test } from 'vitest';
import { rcu_nest } from '../../src/machine/ops/rcu.ts';
import { build } from '../zoo/program.ts';
import { found } from './found.ts';

test('a section is closed that was never opened', () => {
  const program = build({
    words: {},
    threads: () => [
      function* () {
        yield* rcu_nest(1);
        yield* rcu_nest(-1);
        yield* rcu_nest(-1);
      },
    ],
  });
  expect(found(program)).toEqual([
    'rcu-misuse: CPU0 calls rcu_read_unlock() outside a read-side section.',
  ]);
});

test('nothing is found if sections nest', () => {
  const program = build({
    words: {},
    threads: () => [
      function* () {
        yield* rcu_nest(1);
        yield* rcu_nest(1);
        yield* rcu_nest(-1);
        yield* rcu_nest(-1);
      },
    ],
  });
  expect(found(program)).toEqual([]);
});
