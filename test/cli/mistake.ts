import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { complaint } from './in-process.ts';

const USUAL: Readonly<Record<string, string>> = {
  machine: 'x86_64({ cpus: 1 })',
  setup: "(m) => ({ x: m.memory.variable('x') })",
  run: '{ CPU0: ({ x }) => READ_ONCE(x) }',
  sometimes: '{}',
  variants: '{ only: safe() }',
};

/** Checks a scenario that is as usual but for these parts, and says what is said about it. */
export type Mistake = (id: string, parts: Readonly<Record<string, string>>) => Promise<string>;

/** To be called once in a test file; the scenarios are written to a folder that goes away with its tests. */
export function mistakes(said: typeof complaint = complaint): Mistake {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'gracewalk-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  return (id, parts) => {
    const all = Object.entries({ ...USUAL, ...parts }).filter(([, text]) => text !== '');
    // A module is loaded once, and ids come again.
    const own = mkdtempSync(join(folder, 'mistake-'));
    const file = join(own, `${id}.ts`);
    writeFileSync(
      file,
      `import { entered, fails, fn, nop, patch, returned, safe, scenario, touched } from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import * as linux from 'gracewalk/linux';
const { READ_ONCE, WRITE_ONCE } = linux;
export default scenario('${id}', {
${all.map(([name, text]) => `  ${name}: ${text},\n`).join('')}});
`,
    );
    return said(['check', file], own);
  };
}
