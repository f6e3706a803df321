import { expect, test } from 'vitest';
import { mistakes } from './mistake.ts';

/** Mistakes inside a scenario file, each as its author would meet it. */

const mistake = mistakes();

test('E101: a star is missing', async () => {
  expect(await mistake('missing-star', { run: '{ *CPU0({ x }) { yield READ_ONCE(x); } }' }))
    .toMatchInlineSnapshot(`
    "error: an actor yielded something that is not an operation
      --> FOLDER/missing-star.ts:8:31, variant 'only'
    8 |   run: { *CPU0({ x }) { yield READ_ONCE(x); } },
      |                               ^^^^^^^^^^^^ handed over, not run
    note: \`yield f()\` hands over the function itself; \`yield* f()\` runs it
    help: write \`yield* READ_ONCE();\`                                   [E101]
    exit 2"
  `);
});

test('E102: a predicate speaks of an actor that there is not', async () => {
  expect(
    await mistake('no-such-actor', {
      sometimes: "{ 'reads it': touched('CPU1', ({ x }) => x, 'freed') }",
    }),
  ).toMatchInlineSnapshot(`
    "error: no actor 'CPU1'
      --> FOLDER/no-such-actor.ts:5:16
    5 | export default scenario('no-such-actor', {
      |                ^^^^^^^^
    note: sometimes 'reads it' speaks of its steps; there is 'CPU0'
    help: did you mean 'CPU0'?                                          [E102]
    exit 2"
  `);
});

test('E104: more actors than the machine has room for', async () => {
  expect(
    await mistake('crowd', {
      machine: 'x86_64({ cpus: 65 })',
      run: 'Object.fromEntries([...Array(65).keys()].map((n) => [`CPU${n}`, ({ x }) => READ_ONCE(x)]))',
    }),
  ).toMatchInlineSnapshot(`
    "error: more than 64 actors
      --> variant 'only'
    note: interrupt handlers and RCU callbacks count: each IPI sent and each
          call_rcu() makes one
    help: ask a smaller question: fewer CPUs, fewer unmappings          [E104]
    exit 2"
  `);
});

test('E106: a witness is asked of a variant that there is not', async () => {
  expect(
    await mistake('no-such-variant', {
      sometimes: "{ 'x is up': { variants: ['onyl'], predicate: (v) => v.read(v.s.x) === 1 } }",
    }),
  ).toMatchInlineSnapshot(`
    "error: no variant 'onyl' in no-such-variant
      --> FOLDER/no-such-variant.ts:5:16
    5 | export default scenario('no-such-variant', {
      |                ^^^^^^^^
    note: sometimes 'x is up' is asked of it; there is 'only'
    help: did you mean 'only'?                                          [E106]
    exit 2"
  `);
});

test('E108: no witnesses', async () => {
  expect(await mistake('no-sometimes', { sometimes: '' })).toMatchInlineSnapshot(`
    "error: scenario no-sometimes has no sometimes
      --> FOLDER/no-sometimes.ts:5:16
    5 | export default scenario('no-sometimes', {
      |                ^^^^^^^^
    note: it names what must be seen in some run, so that nobody is misled by a
          check of nothing
    help: add \`sometimes: { 'the walk succeeds': returned(walk, 1) }\`; if there
          is nothing to see, \`sometimes: {}\`                            [E108]
    exit 2"
  `);
});

test('E108: a patch of a function that is no kernel function', async () => {
  expect(
    await mistake('patch-plain', {
      variants: '{ only: safe({ patches: [patch(function helper() {}, nop)] }) }',
    }),
  ).toMatchInlineSnapshot(`
    "error: patch() of helper(), which is no kernel function
      --> FOLDER/patch-plain.ts:10:38
    10 |   variants: { only: safe({ patches: [patch(function helper() {}, nop)] }) },
       |                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    note: variant 'only'
    help: only what \`fn\` or \`leaf\` made can be patched; patch a caller of it
                                                                        [E108]
    exit 2"
  `);
});

test('E108: a kind of violation that there is not', async () => {
  expect(await mistake('no-such-kind', { variants: "{ only: fails('use-after-fre') }" }))
    .toMatchInlineSnapshot(`
      "error: no violation 'use-after-fre'
        --> FOLDER/no-such-kind.ts:10:21
      10 |   variants: { only: fails('use-after-fre') },
         |                     ^^^^^^^^^^^^^^^^^^^^^^
      note: variant 'only'; known: use-after-free, null-dereference, double-free,
            stale-translation, torn-entry, lost-write, lost-dirty, wrong-page,
            refcount, leak, deadlock, livelock, sleep-in-atomic, lock-order,
            lock-leak, irq-leak, rcu-misuse, unordered-access, property
      help: did you mean 'use-after-free'?                                [E108]
      exit 2"
    `);
});

test.each([
  ['pte_off(m, mm, 0x1000)', 'pte_off', '^'.repeat(22)],
  ["new_page(m, 'Y')", 'new_page', '^'.repeat(16)],
  ["m.memory.variable('y')", 'variable', '^'.repeat(13)],
])('E126: an actor calls what is for setup: %s', async (call, name, marked) => {
  const said = await mistake('for-setup', {
    setup: "(m) => ({ m, mm: linux.new_mm(m, 'mm', { 0x1000: linux.new_page(m, 'X') }) })",
    run: `{ *CPU0({ m, mm }) { const made = ${call.replace(/^(?=pte|new)/, 'linux.')}; } }`,
  });
  expect(said).toContain(`error: ${name}() is called by an actor\n`);
  expect(said).toContain(` ${marked}\n`);
  expect(said).toMatch(/\[E126\]\nexit 2$/);
});

test('E131: a pointer to an entry of a table that there is not', async () => {
  const said = await mistake('no-table', {
    setup: `(m) => {
      const mm = linux.new_mm(m, 'mm', { 0x1000: linux.new_page(m, 'X') });
      return { x: m.memory.variable('x'), ptep: linux.pte_off(m, mm, 0x40000000) };
    }`,
  });
  expect(said).toContain('error: nothing is mapped near 0x40000000\n');
  expect(said).toMatch(/\[E131\]\nexit 2$/);
});

test('E108: what is wrong with a variant is said at its line', async () => {
  const said = await mistake('which-variant', {
    variants: `{
    good: safe(),
    bad: fails('use-after-free', { patches: [patch] }),
  }`,
  });
  expect(said).toMatch(/which-variant\.ts:12:10/);
  expect(said).toContain("bad: fails('use-after-free'");
});

test('E108: a misspelt field', async () => {
  expect(await mistake('misspelt', { alway: "{ 'x is 0': (v) => v.read(v.s.x) === 0 }" }))
    .toMatchInlineSnapshot(`
      "error: unknown field 'alway' in scenario misspelt
        --> FOLDER/misspelt.ts:5:16
      5 | export default scenario('misspelt', {
        |                ^^^^^^^^
      note: known: title, citation, story, machine, model, config, alloc, setup,
            run, host, foreign, always, sometimes, variants, ask
      help: did you mean 'always'?                                        [E108]
      exit 2"
    `);
});

test('E109: an unknown configuration name', async () => {
  expect(await mistake('config', { config: '{ MMU_GATHER_RCU_TABLE_FRE: true }' }))
    .toMatchInlineSnapshot(`
    "error: unknown configuration name MMU_GATHER_RCU_TABLE_FRE
      --> FOLDER/config.ts:5:16
    5 | export default scenario('config', {
      |                ^^^^^^^^
    note: variant 'only'; known: MMU_GATHER_RCU_TABLE_FREE,
          MMU_GATHER_TABLE_FREE, PT_RECLAIM, MAX_TABLE_BATCH, MAX_GATHER_BATCH,
          MMU_NOTIFIER
    help: did you mean 'MMU_GATHER_RCU_TABLE_FREE'?                     [E109]
    exit 2"
  `);
});

test('E109: an allocation that can do something else', async () => {
  expect(await mistake('alloc', { alloc: "{ GFP_NOWAIT: 'fail' }" })).toMatchInlineSnapshot(`
    "error: GFP_NOWAIT cannot be 'fail'
      --> FOLDER/alloc.ts:5:16
    5 | export default scenario('alloc', {
      |                ^^^^^^^^
    note: variant 'only'; known: ok, fails, either
    help: did you mean 'fails'?                                         [E109]
    exit 2"
  `);
});

test('E109: a configuration that the machine cannot have', async () => {
  const machine =
    "(() => { const m = x86_64({ cpus: 1 }); const impossible = ({ PT_RECLAIM }) => PT_RECLAIM ? 'PT_RECLAIM=y is not a valid x86_64 configuration' : null; return { ...m, arch: { ...m.arch, impossible } }; })()";
  expect(await mistake('impossible', { machine, config: '{ PT_RECLAIM: true }' }))
    .toMatchInlineSnapshot(`
    "error: PT_RECLAIM=y is not a valid x86_64 configuration
      --> FOLDER/impossible.ts:5:16
    5 | export default scenario('impossible', {
      |                ^^^^^^^^
    note: variant 'only'
    help: remove it, or use another machine                             [E109]
    exit 2"
  `);
});

test('E112: setup throws', async () => {
  expect(await mistake('setup-throws', { setup: "(m) => m.memory.varable('x')" }))
    .toMatchInlineSnapshot(`
    "error: the scenario threw TypeError: m.memory.varable is not a function
      --> FOLDER/setup-throws.ts:7:26, variant 'only'
    7 |   setup: (m) => m.memory.varable('x'),
      |                          ^^^^^^^^^^^^
    help: a scenario must not throw; --debug shows the stack            [E112]
    exit 2"
  `);
});

test('E116: a page-table access to a plain word', async () => {
  expect(await mistake('narrow', { run: '{ CPU0: ({ x }) => linux.ptep_get(x) }' }))
    .toMatchInlineSnapshot(`
    "error: x is a 32-bit word, not a page-table entry
      --> variant 'only'
    help: READ_ONCE and WRITE_ONCE access plain words                   [E116]
    exit 2"
  `);
});

test.each(['WRITE_ONCE(e, 0)', 'linux.xchg(e, 0)', 'linux.fetch_add(e, 1)'])(
  'E116: a plain store to a page table: %s',
  async (store) => {
    const said = await mistake('plain-store', {
      setup:
        "(m) => { const mm = linux.new_mm(m, 'mm', { 4096: linux.new_page(m, 'X') }); return { e: m.memory.resolve(linux.pte_off(m, mm, 4096)) }; }",
      run: `{ CPU0: ({ e }) => ${store} }`,
    });
    expect(said).toContain(
      'error: pteA[1] is a page-table entry, and a plain word is stored to it\n',
    );
    expect(said).toMatch(/help: .*write_entry\(\).*\[E116\]\nexit 2$/s);
  },
);

test('E117: interrupts are turned off where there is no CPU', async () => {
  expect(
    await mistake('no-cpu', {
      run: '{ *CPU0() { yield* linux.call_rcu(fn(function* late() { yield* linux.local_irq_save(); }), []); } }',
    }),
  ).toMatchInlineSnapshot(`
    "error: an operation on this CPU by somebody who is on none
      --> variant 'only'
    note: RCU callbacks and the host do not run on one of the scenario's CPUs
    help: interrupts and preemption are for tasks and interrupt handlers
                                                                        [E117]
    exit 2"
  `);
});

test('E118: two pages of one name', async () => {
  expect(
    await mistake('two-pages', {
      setup: "(m) => [linux.new_page(m, 'X'), linux.new_page(m, 'X')]",
      run: '{ *CPU0() {} }',
    }),
  ).toMatchInlineSnapshot(`
    "error: there are two pages called X
      --> FOLDER/two-pages.ts:7:48, variant 'only'
    7 |   setup: (m) => [linux.new_page(m, 'X'), linux.new_page(m, 'X')],
      |                                                ^^^^^^^^^^^^^^^^
    note: page tables are called pgd, pud, pmd, pteA, pteB, ...
    help: give each page a name of its own                              [E118]
    exit 2"
  `);
});

test('E119: an actor that is no generator', async () => {
  expect(await mistake('no-generator', { run: '{ CPU0: () => 3 }' })).toMatchInlineSnapshot(`
    "error: what CPU0 does is no generator
      --> variant 'only'
    note: an actor is a generator function, or returns a call of one
    help: write *CPU0(state) { ... } with the star                      [E119]
    exit 2"
  `);
});

test('E119: a predicate that is a generator', async () => {
  expect(await mistake('predicate', { always: "{ *'x is 0'(v) { return v.read(v.s.x) === 0; } }" }))
    .toMatchInlineSnapshot(`
    "error: 'x is 0' is neither true nor false but object
      --> variant 'only'
    help: a predicate compares what it reads with v.read(word), without yield*
                                                                        [E119]
    exit 2"
  `);
});

test('E120: a field that setup does not return', async () => {
  expect(await mistake('no-field', { run: '{ *CPU0({ y }) { yield* READ_ONCE(y); } }' }))
    .toMatchInlineSnapshot(`
    "error: READ_ONCE() was given undefined
      --> FOLDER/no-field.ts:8:32, variant 'only'
    8 |   run: { *CPU0({ y }) { yield* READ_ONCE(y); } },
      |                                ^^^^^^^^^^^^
    note: is it a field that setup() does not return, or a misspelt name?
    help: words come from m.memory.variable(name) or from the kernel structures
          in gracewalk/linux                                            [E120]
    exit 2"
  `);
});

test('E120: a predicate reads what is not there', async () => {
  expect(await mistake('no-word', { always: "{ 'y is 0': (v) => v.read(v.s.y) === 0 }" }))
    .toMatchInlineSnapshot(`
    "error: v.read() was given something that is no word
      --> FOLDER/no-word.ts:11:32, variant 'only'
    11 |   always: { 'y is 0': (v) => v.read(v.s.y) === 0 },
       |                                ^^^^^^^^^^^
    note: is it a field that setup() does not return?
    help: words come from m.memory.variable(name) or from the kernel structures
          in gracewalk/linux                                            [E120]
    exit 2"
  `);
});

test('E121: a value that does not fit', async () => {
  expect(await mistake('too-wide', { run: '{ CPU0: ({ x }) => WRITE_ONCE(x, 2 ** 31) }' }))
    .toMatchInlineSnapshot(`
    "error: 2147483648 does not fit x, a 32-bit word
      --> variant 'only'
    help: plain words hold whole numbers from -2^31 to 2^31 - 1         [E121]
    exit 2"
  `);
});

test('E122: a page freed in setup', async () => {
  expect(
    await mistake('freed-in-setup', {
      setup: "(m) => { const X = linux.new_page(m, 'X', 1); linux.folio_put(X); return { X }; }",
      run: '{ *CPU0() {} }',
    }),
  ).toMatchInlineSnapshot(`
    "error: setup() calls folio_put(), which is an operation
      --> FOLDER/freed-in-setup.ts:7:62, variant 'only'
    7 |   setup: (m) => { const X = linux.new_page(m, 'X', 1); linux.folio_put(X); return { X }; },
      |                                                              ^^^^^^^^^^^^ does nothing here
    note: setup makes the initial state before the first step: nobody executes
          anything yet
    help: give words their first value, m.memory.variable('x', 1), and let an
          actor do the rest                                             [E122]
    exit 2"
  `);
});

test('E122: an operation run in setup', async () => {
  const setup = "(m) => { const x = m.memory.variable('x'); [...WRITE_ONCE(x, 1)]; return { x }; }";
  const text = await mistake('run-in-setup', { setup });
  expect(text).toContain('error: setup() calls WRITE_ONCE(), which is an operation');
  expect(text).toMatch(/\[E122\][^]*exit 2$/);
});

test.each([
  ['generator', "function* (m) { return { x: m.memory.variable('x') }; }"],
  ['promise', "async (m) => ({ x: m.memory.variable('x') })"],
])('E122: a setup that returns a %s', async (what, setup) => {
  const text = await mistake(`setup-${what}`, { setup });
  expect(text).toContain(`error: setup() returns a ${what}, not a state`);
  expect(text).toMatch(/\[E122\][^]*exit 2$/);
});

test('E122: a predicate that compares an operation instead of a value', async () => {
  expect(await mistake('compares', { always: "{ 'x is not 1': (v) => READ_ONCE(v.s.x) !== 1 }" }))
    .toMatchInlineSnapshot(`
    "error: 'x is not 1' calls READ_ONCE(), which is an operation
      --> FOLDER/compares.ts:11:34, variant 'only'
    11 |   always: { 'x is not 1': (v) => READ_ONCE(v.s.x) !== 1 },
       |                                  ^^^^^^^^^^^^^^^^ does nothing here
    note: a predicate looks at a state; it executes nothing
    help: a predicate compares what it reads with v.read(word), without yield*
                                                                        [E122]
    exit 2"
  `);
});

test('E123: a predicate that throws, with the state it threw on', async () => {
  const names = "['zero', 'one'][v.read(v.s.x)].length > 2";
  expect(
    await mistake('throws', {
      run: '{ CPU0: ({ x }) => WRITE_ONCE(x, 2) }',
      always: `{ 'x has a name': (v) => ${names} }`,
    }),
  ).toMatchInlineSnapshot(`
    "error: 'x has a name' threw TypeError: Cannot read properties of undefined (reading 'length')
      --> FOLDER/throws.ts:11:67, variant 'only'
    11 |   always: { 'x has a name': (v) => ['zero', 'one'][v.read(v.s.x)].length > 2 },
       |                                                                   ^^^^^^
    note: having read x = 2
    help: a predicate must be true or false in every state that a run passes
                                                                        [E123]
    exit 2"
  `);
});
