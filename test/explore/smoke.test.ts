import { expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import { READ_ONCE, WRITE_ONCE, fetch_add, try_cmpxchg } from '../../src/machine/ops/memory.ts';
import { spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { build } from '../zoo/program.ts';

test('SB', () => {
  const p = () => build({ words: { x: 0, y: 0 }, threads: ({ x, y }) => [
    function* () { yield* WRITE_ONCE(x, 1); return yield* READ_ONCE(y); },
    function* () { yield* WRITE_ONCE(y, 1); return yield* READ_ONCE(x); },
  ]});
  const r = explore(p());
  console.log(r, explore(p(), { engine: 'plain' }));
  expect(r.runs).toBe(3);
});
test('ABBA', () => {
  const p = () => build({ words: { a: 0, b: 0 }, threads: ({ a, b }) => [
    function* () { yield* spin_lock(a); yield* spin_lock(b); yield* spin_unlock(b); yield* spin_unlock(a); },
    function* () { yield* spin_lock(b); yield* spin_lock(a); yield* spin_unlock(a); yield* spin_unlock(b); },
  ]});
  const r = explore(p());
  console.log(r);
  expect(r.runs).toBe(3); expect(r.deadlocks).toBe(1);
});
test('lockinc', () => {
  const p = () => build({ words: { l: 0, x: 0 }, threads: ({ l, x }) => Array.from({length: 5}, () =>
    function* () { yield* spin_lock(l); const v = yield* READ_ONCE(x); yield* WRITE_ONCE(x, v + 1); yield* spin_unlock(l); })});
  const r = explore(p());
  console.log(r);
  expect(r.runs).toBe(120);
});
test('msq(3,1)', () => {
  const words: Record<string, number> = { head: 1, tail: 1 };
  for (let i = 1; i <= 4; i++) words[`n${i}`] = 0;
  const p = () => build({ words, threads: (w) => {
    const nxt = (i: number) => w[`n${i}`]!;
    const enq = (n: number) => function* () {
      for (;;) {
        const t = yield* READ_ONCE(w.tail!); const x = yield* READ_ONCE(nxt(t));
        if (t === (yield* READ_ONCE(w.tail!))) {
          if (!x) { if (yield* try_cmpxchg(nxt(t), 0, n)) { yield* try_cmpxchg(w.tail!, t, n); break; } }
          else yield* try_cmpxchg(w.tail!, t, x);
        }
      }
    };
    const deq = function* () {
      for (;;) {
        const h = yield* READ_ONCE(w.head!); const t = yield* READ_ONCE(w.tail!); const x = yield* READ_ONCE(nxt(h));
        if (h === (yield* READ_ONCE(w.head!))) {
          if (h === t) { if (!x) return; yield* try_cmpxchg(w.tail!, t, x); }
          else if (yield* try_cmpxchg(w.head!, h, x)) break;
        }
      }
    };
    return [enq(2), enq(3), enq(4), deq];
  }});
  const t0 = performance.now();
  const r = explore(p());
  console.log(r, performance.now() - t0, r.steps / (performance.now() - t0));
  expect(r.runs).toBe(122676);
});
