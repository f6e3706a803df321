import { describe, expect, it } from 'vitest';
import { LAYERS, checkImports } from '../../tools/check-imports.mjs';

const lines = (file: string, ...source: string[]): string[] =>
  checkImports(file, source.join('\n')).map((o) => `${o.line}: ${o.message}`);

describe('check-imports', () => {
  it('accepts a lower layer and the own one', () => {
    expect(
      lines(
        'src/kernel/mm/gup.ts',
        `import { load } from '../../machine/ops.ts';`,
        `import type { Arch } from '../../arch/arch.ts';`,
        `export { walk } from './walk.ts';`,
      ),
    ).toEqual([]);
  });

  it('names the line of an import of a higher layer', () => {
    expect(
      lines(
        'src/explore/loop.ts',
        `// from '../kernel/gup.ts' in a comment is no import`,
        `import { step } from '../machine/step.ts';`,
        `import {`,
        `  gup_fast,`,
        `} from '../kernel/mm/gup.ts';`,
      ),
    ).toEqual([
      '5: explore may not import src/kernel/mm/gup.ts; it may import base, machine, sanitizers',
    ]);
  });

  it.each([
    `if (arch === x86) f();`,
    `if (m.arch !== other) f();`,
    `if (arch.name == known) f();`,
    `if (machine.arch.title.startsWith(word)) f();`,
    `const old = name === 's390';`,
    `switch (name) { case 'arm64_64k': f(); }`,
  ])('refuses to ask which architecture it is: %s', (source) => {
    expect(lines('src/kernel/mm/a.ts', source)).toEqual([
      '1: kernel may not ask which architecture it is: ask the descriptor',
    ]);
    expect(lines('src/arch/a.ts', source)).toEqual([]);
  });

  it.each([
    `if (arch.flush === 'ipi') f();`,
    `const { arch } = machine;`,
    `const arch = machine.arch;`,
    `print(arch.name, 'an arm64 machine');`,
    `const f = (arch) => arch.levels;`,
    `// if (arch === 'x86_64')`,
  ])('lets the descriptor be asked: %s', (source) => {
    expect(lines('src/kernel/mm/a.ts', source)).toEqual([]);
  });

  it.each([
    ['src/explore/a.ts', `import type { Arch } from '../arch/index.ts';`],
    ['src/explore/a.ts', `export * from '../arch/index.ts';`],
    ['src/explore/a.ts', `export type { A } from '../arch/index.ts';`],
    ['src/explore/a.ts', `import '../arch/index.ts';`],
    ['src/explore/a.ts', `const a = await import('../arch/index.ts');`],
    ['src/explore/a.ts', `const w = new URL('../arch/worker.ts', import.meta.url);`],
    ['src/explore/a.ts', 'const t = `${`}`}`; import a from "../arch/index.ts";'],
    ['src/explore/a.ts', `const r = /['"]/; import a from '../arch/index.ts';`],
    ['src/scenario/a.ts', `import { gup } from '../kernel/index.ts';`],
    ['src/machine/a.ts', `import { scenario } from '../index.ts';`],
    ['src/machine/a.ts', `import { scenario } from 'gracewalk';`],
    ['src/machine/a.ts', `import { Command } from 'commander';`],
    ['src/base/a.ts', `import { join } from 'node:path';`],
    ['src/base/a.ts', `import { join } from 'path';`],
    ['src/base/a.ts', `const tty = process.stdout.isTTY;`],
    ['src/base/a.ts', `const tty = globalThis.process?.stdout;`],
    ['src/base/a.ts', `import x from '../../tools/x.mjs';`],
    ['src/web/a.ts', `import x from '../cli/main.ts';`],
    ['src/odd/a.ts', ``],
    ['scenarios/a.ts', `import x from '../src/kernel/index.ts';`],
    ['scenarios/a.ts', `import x from './neighbour.ts';`],
    ['scenarios/a.ts', `import x from 'gracewalk/dist/kernel/index.js';`],
  ])('refuses in %s: %s', (file, source) => {
    expect(lines(file, source)).toHaveLength(1);
  });

  it.each([
    ['src/cli/main.ts', `import { join } from 'node:path'; process.exitCode = 1;`],
    ['src/cli/main.ts', `import { Command } from 'commander';`],
    ['src/cli/main.ts', `const root = new URL('../..', import.meta.url);`],
    ['src/index.ts', `export { scenario } from './scenario/scenario.ts';`],
    ['src/base/a.ts', 'const text = `import x from "../kernel/gup.ts"`;'],
    ['src/base/a.ts', `const text = "import x from '../kernel/gup.ts'";`],
    ['src/base/a.ts', `const from = (s: string) => s; task.process.start(from('./x.ts'));`],
    ['scenarios/a.ts', `import { x86_64 } from 'gracewalk/arch';`],
  ])('accepts in %s: %s', (file, source) => {
    expect(lines(file, source)).toEqual([]);
  });

  it('gives a report the types of steps and results, and no values', () => {
    expect(
      lines(
        'src/report/columns.ts',
        `import type { Step } from '../machine/step.ts';`,
        `import type { Result } from '../scenario/result.ts';`,
        `import { Machine } from '../machine/machine.ts';`,
        `import type { Frontier } from '../explore/frontier.ts';`,
      ),
    ).toEqual([
      '3: report may import only types of machine',
      '4: report may not import src/explore/frontier.ts; it may import base, types of src/machine/, types of src/scenario/result.ts, types of src/why/result.ts, types of src/ask/result.ts',
    ]);
  });

  it('has no cycle among the layers', () => {
    const visit = (layer: string, path: readonly string[]): void => {
      expect(path).not.toContain(layer);
      for (const below of LAYERS[layer] ?? []) visit(below, [...path, layer]);
    };
    for (const layer of Object.keys(LAYERS)) visit(layer, []);
  });
});
