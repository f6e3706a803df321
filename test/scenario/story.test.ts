import { expect, test } from 'vitest';
import { x86_64 } from '../../src/arch/index.ts';
import { safe, scenario } from '../../src/scenario/scenario.ts';

function told(parts: Record<string, unknown>): () => unknown {
  return () =>
    scenario('told', {
      machine: x86_64({ cpus: 1 }),
      setup: () => ({}),
      run: { *CPU0() {} },
      sometimes: {},
      variants: { only: safe() },
      ...parts,
    });
}

test('title, citation and story belong together', () => {
  expect(told({})).not.toThrow();
  expect(told({ title: 'a', citation: 'b', story: 'c' })).not.toThrow();
  expect(told({ title: 'a', story: 'c' })).toThrow('tells a story without its citation');
  expect(told({ title: 'a', citation: ' ', story: 'c' })).toThrow('without its citation');
  expect(told({ title: 'a', citation: 'b', story: 3 })).toThrow('without its story');
  expect(told({ titel: 'a' })).toThrow("unknown field 'titel'");
});
