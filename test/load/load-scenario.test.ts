// The hooks belong to Node, so this tests dist: `npm test` builds first.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import type * as load from '../../src/cli/load/load-scenario.ts';
import type * as errors from '../../src/cli/load/source-error.ts';

const dist = (path: string): string => new URL(`../../dist/${path}`, import.meta.url).href;
const fixture = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/load/${name}`, import.meta.url));

const LOAD = 'cli/load/load-scenario.js';
const { loadModule } = (await import(dist(LOAD))) as typeof load;
const { MissingFileError, SourceError } = (await import(
  dist('cli/load/source-error.js')
)) as typeof errors;

/** What loading a fixture throws. */
const refusal = (name: string): Promise<unknown> =>
  loadModule(fixture(name)).then(
    () => 'loaded',
    (error: unknown) => error,
  );

/** 1-based line and column, as in the file on disk. */
function placeOf(name: string, text: string): { line: number; column: number } {
  const before = readFileSync(fixture(name), 'utf8').split(text)[0] ?? '';
  const lines = before.split('\n');
  return { line: lines.length, column: (lines.at(-1) ?? '').length + 1 };
}

describe('loadModule', () => {
  it('leaves every position where it was', async () => {
    const { fails } = (await loadModule(fixture('throws.ts'))) as { fails: (x: unknown) => never };
    const { line, column } = placeOf('throws.ts', 'new Error');
    let stack = '';
    try {
      fails(['x']);
    } catch (error) {
      stack = (error as Error).stack ?? '';
    }
    expect(stack).toContain(`/test/fixtures/load/throws.ts:${line}:${column})`);
  });

  it('gives the same module when asked again', async () => {
    expect(await loadModule(fixture('neighbour.ts'))).toBe(
      await loadModule(fixture('neighbour.ts')),
    );
  });

  it('finds neighbours by .ts, by .js and without an extension, as one module', async () => {
    const { exact, bare, js } = await loadModule(fixture('neighbours.ts'));
    expect(exact).toEqual({ name: 'thing' });
    expect(bare).toBe(exact);
    expect(js).toBe(exact);
  });

  it.runIf(existsSync(new URL('../../src/index.ts', import.meta.url)))(
    'resolves gracewalk, gracewalk/linux and gracewalk/arch to the modules of the program itself',
    async () => {
      const own = await loadModule(fixture('own.ts'));
      expect(own['gracewalk']).toBe(await import(dist('index.js')));
      expect(own['linux']).toBe(await import(dist('kernel/index.js')));
      expect(own['arch']).toBe(await import(dist('arch/index.js')));
    },
  );

  it('works in a worker thread too', async () => {
    const worker = new Worker(
      `(async () => {
        const { parentPort, workerData } = require('node:worker_threads');
        const { loadModule } = await import(workerData.load);
        const refused = await loadModule(workerData.bad).catch((e) => [e.name, e.line, e.column]);
        const { exact } = await loadModule(workerData.good);
        parentPort.postMessage({ exact, refused });
      })()`,
      {
        eval: true,
        workerData: {
          load: dist(LOAD),
          good: fixture('neighbours.ts'),
          bad: fixture('imports-syntax.ts'),
        },
      },
    );
    const message = await new Promise((done, failed) => {
      worker.once('message', done).once('error', failed);
    });
    await worker.terminate();
    const { line, column } = placeOf('syntax.ts', '= 2');
    expect(message).toEqual({ exact: { name: 'thing' }, refused: ['SourceError', line, column] });
  });
});

describe('SourceError', () => {
  it.each([
    { name: 'syntax.ts', at: '= 2', message: /^Unexpected token `=`/ },
    { name: 'enum.ts', at: 'enum', message: /enum is not supported/ },
    { name: 'imports-syntax.ts', in: 'syntax.ts', at: '= 2', message: /^Unexpected token `=`/ },
    { name: 'twice.ts', at: 'twice: number = once', message: /'twice' has already been declared/ },
    { name: 'no-such-export.ts', at: 'thong', message: /not provide an export named 'thong'/ },
  ])('says where $name is wrong', async ({ name, in: file = name, at, message }) => {
    const error = await refusal(name);
    expect(error).toBeInstanceOf(SourceError);
    const { line, column } = placeOf(file, at);
    expect(error).toMatchObject({ name: 'SourceError', file: fixture(file), line, column });
    const { lines, message: text } = error as errors.SourceError;
    expect(text).toMatch(message);
    expect(
      lines
        .at(-1)
        ?.slice(column - 1)
        .startsWith(at),
    ).toBe(true);
  });
});

describe('MissingFileError', () => {
  it('names a file that is not there', async () => {
    const error = await refusal('nowhere.ts');
    expect(error).toBeInstanceOf(MissingFileError);
    expect(error).toMatchObject({ file: fixture('nowhere.ts'), importer: undefined });
  });

  it('takes a folder for no file', async () => {
    expect(await refusal('.')).toBeInstanceOf(MissingFileError);
  });

  it('names a neighbour that is not there, and who wants it', async () => {
    const error = await refusal('missing-neighbour.ts');
    expect(error).toBeInstanceOf(MissingFileError);
    expect(error).toMatchObject({
      file: fixture('neighbor.ts'),
      importer: fixture('missing-neighbour.ts'),
    });
  });

  it('names a package that is not there, and who wants it', async () => {
    const error = await refusal('missing-package.ts');
    expect(error).toBeInstanceOf(MissingFileError);
    expect(error).toMatchObject({
      file: 'lodash-that-is-not-there',
      importer: fixture('missing-package.ts'),
    });
  });
});
