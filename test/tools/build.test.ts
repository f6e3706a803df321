import { describe, expect, it } from 'vitest';
import { compile } from '../../tools/build.mjs';

describe('compile', () => {
  it('keeps every position and rewrites the specifiers of neighbours', () => {
    const source = [
      `#!/usr/bin/env node`,
      `import type { A } from './a.ts';`,
      `import { b, type B } from "../b.ts";`,
      `export const f = <T,>(t: T): T => t as T; throw_('é€😀');`,
      `export * from './c.mts';`,
      `const w = new URL('./worker.ts', import.meta.url);`,
      `await import('./d.ts');`,
      `const text = "import './e.ts'";`,
      '',
    ].join('\n');
    expect(compile(source, 'x.ts')).toBe(
      [
        `#!/usr/bin/env node`,
        `                                `,
        `import { b,        } from "../b.js";`,
        `export const f =     (t   )    => t     ; throw_('é€😀');`,
        `export * from './c.mjs';`,
        `const w = new URL('./worker.js', import.meta.url);`,
        `await import('./d.js');`,
        `const text = "import './e.ts'";`,
        '',
      ].join('\n'),
    );
  });
});
