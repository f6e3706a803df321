import { describe, expect, it } from 'vitest';
import { statementText } from '../../src/report/statement.ts';

/** Source lines, `^` below the first marking the step's column; function name; address positions; text. */
type Case = readonly [source: string, name: string, address: readonly number[], text: string];

const CASES: readonly Case[] = [
  // Stores.
  [
    '  const pmd = yield* pmdp_get_lockless(pmdp);',
    'pmdp_get_lockless',
    [],
    'pmd = pmdp_get_lockless(pmdp);',
  ],
  ['  let pte: Pte = yield* ptep_get(ptep);', 'ptep_get', [], 'pte = ptep_get(ptep);'],
  ['  const m: Map<number, Page> = yield* f(x);', 'f', [], 'm = f(x);'],
  [
    '  own.tlb_gen = yield* READ_ONCE(mm.tlb_gen);',
    'READ_ONCE',
    [],
    'own->tlb_gen = READ_ONCE(mm->tlb_gen);',
  ],
  ['  batch.tables[nr] = yield* f(x);', 'f', [], 'batch->tables[nr] = f(x);'],
  ['  total += yield* READ_ONCE(count);', 'READ_ONCE', [], 'total += READ_ONCE(count);'],
  ['  const folio = (yield* grab(page)) as Folio;', 'grab', [], 'folio = grab(page);'],
  ['  const folio = (yield* grab(page))!;', 'grab', [], 'folio = grab(page);'],
  ['  const a = 1, b = yield* f(x);', 'f', [], 'b = f(x);'],
  ['  while ((v = yield* READ_ONCE(lock)) !== 0) ;', 'READ_ONCE', [], 'v = READ_ONCE(lock);'],
  ['  const flags = yield* local_irq_save()', 'local_irq_save', [], 'flags = local_irq_save();'],
  // Results that are used, not stored.
  ['  const gone = (yield* READ_ONCE(x)) !== 0;', 'READ_ONCE', [], 'READ_ONCE(x);'],
  ['  const page = ok ? yield* f(x) : null;', 'f', [], 'f(x);'],
  ['  const { a, b } = yield* f(x);', 'f', [], 'f(x);'],
  ['  const n = 1 + (yield* f(x));', 'f', [], 'f(x);'],
  ['  return yield* f(x);', 'f', [], 'f(x);'],
  ['  if (!(yield* trylock(ptl))) return null;', 'trylock', [], 'trylock(ptl);'],
  ['  for (const page of pages) yield* folio_put(page);', 'folio_put', [], 'folio_put(page);'],
  ['  CPU1: ({ mm }) => munmap(mm, ADDR),', 'munmap', [], 'munmap(mm, ADDR);'],
  // Arguments by address.
  [
    '  if (yield* try_cmpxchg(src.preempted, state, state | KVM_VCPU_FLUSH_TLB))',
    'try_cmpxchg',
    [0, 1],
    'try_cmpxchg(&src->preempted, &state, state | KVM_VCPU_FLUSH_TLB);',
  ],
  [
    '  yield* spin_lock(pte_lockptr(mm, pmd));',
    'spin_lock',
    [0],
    'spin_lock(pte_lockptr(mm, pmd));',
  ],
  ['  yield* spin_lock(pmd_page(pmd).ptl);', 'spin_lock', [0], 'spin_lock(&pmd_page(pmd)->ptl);'],
  ['  yield* xchg(slots[i], 0);', 'xchg', [0, 1], 'xchg(&slots[i], 0);'],
  ['  yield* spin_until([a.x, b], (x, y) => x > y);', 'spin_until', [0], 'spin_until(&a->x, b);'],
  ['  yield* spin_unlock(ptl);', 'spin_unlock', [0], 'spin_unlock(ptl);'],
  // Members, constants, literals.
  [
    '  yield* f(a?.b.c, PageFlags.LOCKED, 0x1000n, null);',
    'f',
    [],
    'f(a->b->c, PageFlags.LOCKED, 0x1000, NULL);',
  ],
  ["  yield* f('a b(', 1_000, x === y, x !== y);", 'f', [], 'f("a b(", 1000, x == y, x != y);'],
  ['  yield* f(list[0].next, !x);', 'f', [], 'f(list[0].next, !x);'],
  // What only TypeScript has.
  [
    '  yield* call(all, sync as unknown as AnyFn, x as Map<A, B>);',
    'call',
    [],
    'call(all, sync, x);',
  ],
  ['  yield* f<Page>(x!, y!.z, g<T>(w));', 'f', [], 'f(x, y->z, g(w));'],
  ['  yield* f((x as Foo).bar, (a + b) * c, a < b);', 'f', [], 'f(x->bar, (a + b) * c, a < b);'],
  ['  yield* grab(page, { root: mm.pgd, address: addr });', 'grab', [], 'grab(page);'],
  ['  yield* f(g(page, { write, x: true }), y);', 'f', [], 'f(g(page), y);'],
  ['  yield* f(x, Math.min(a, b), next.id ?? 0);', 'f', [], 'f(x, min(a, b), next->id ?: 0);'],
  ['  yield* f(x, /* why */ y, (v): boolean => v > 0); // f(z)', 'f', [], 'f(x, y);'],
  // Calls within calls.
  ['  if (!same(pmd, yield* pmdp_get(pmdp)) || x) {', 'pmdp_get', [], 'pmdp_get(pmdp);'],
  ['  yield* f(yield* g(a), (yield* h(b)).c);', 'f', [], 'f(g(a), h(b)->c);'],
  ['  yield* f(yield* g(a), (yield* h(b)).c);', 'h', [], 'h(b);'],
  // The column decides between equal names.
  [
    '  const [a, b] = [yield* r(x), yield* r(y)];\n                                ^',
    'r',
    [],
    'r(y);',
  ],
  ['  if ((yield* r(x)) && (yield* r(y))) {\n              ^', 'r', [], 'r(x);'],
  ['  f(yield* r(x));\n                          ^', 'r', [], 'r(x);'],
  // Several lines.
  [
    '  yield* write_entry(\n^\n    place, // where\n    value,\n  );',
    'write_entry',
    [],
    'write_entry(place, value);',
  ],
  ['  const pte = yield* f(\n    yield* g(x),\n  );', 'f', [], 'pte = f(g(x));'],
  ['  const pte = yield* outer(\n    yield* g(x),\n  );', 'g', [], 'g(x);'],
  // Not there.
  ['  const read = yield* alias(x);', 'READ_ONCE', [], 'READ_ONCE();'],
  ['  reread(x);', 'read', [], 'read();'],
  ['  yield* f(\n1,\n2,\n3,\n4,\n5,\n6,\n7,\n8);', 'f', [], 'f();'],
  ['  return done;\n}\n  yield* f(x);', 'f', [], 'f();'],
  ['const f = leaf(function* f(word: Word): Steps<void> {', 'f', [], 'f();'],
];

function textOf(source: string, name: string, address: readonly number[], before?: string): string {
  const [first = '', second = '', ...rest] = source.split('\n');
  const marked = /^ *\^$/.test(second);
  const column = marked ? second.length : first.search(/\S/) + 1;
  const lines = [before ?? '', first, ...(marked ? rest : [second, ...rest])];
  return statementText(
    { op: 'op', leaf: { name, address }, site: { file: 'a.ts', line: 2, column } },
    (_file, line) => lines[line - 1] ?? null,
  );
}

describe('statementText', () => {
  it.each(CASES)('%s: %s %j', (source, name, address, text) => {
    expect(textOf(source, name, address)).toBe(text);
  });

  it('looks for the left-hand side on the line before, where a formatter leaves it', () => {
    const line = '    yield* try_grab_folio_fast(page);';
    const text = 'try_grab_folio_fast(page);';
    expect(textOf(line, 'try_grab_folio_fast', [], '  const folio =')).toBe(`folio = ${text}`);
    expect(textOf(line, 'try_grab_folio_fast', [], '  if (folio)')).toBe(text);
  });

  it('names the function, or else the op, where there is no source', () => {
    const site = { file: 'a.ts', line: 1, column: 1 };
    const leaf = { name: 'pmd_clear', address: [] };
    expect(statementText({ op: 'write_entry', leaf, site }, () => null)).toBe('pmd_clear();');
    expect(statementText({ op: 'write_entry', leaf, site: null }, () => 'pmd_clear(x)')).toBe(
      'pmd_clear();',
    );
    expect(statementText({ op: 'write_entry', leaf: null, site: null }, () => null)).toBe(
      'write_entry();',
    );
  });
});
