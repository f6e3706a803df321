import { spawn, spawnSync, type ChildProcess, type StdioOptions } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

/** Runs the built program as a person would. `npm test` builds before. */

export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url));
export const FIXTURES = 'test/fixtures/cli';

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdio?: StdioOptions;
  readonly uid?: number;
  /** Called once the program runs; `stderr` is what it has said so far. */
  readonly watch?: (child: ChildProcess, stderr: () => string) => void;
}

export function gracewalk(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { NO_COLOR: _, FORCE_COLOR: __, ...env } = process.env;
  const child = spawn(process.execPath, [`${ROOT}/dist/cli/main.js`, ...args], {
    cwd: options.cwd ?? ROOT,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    env: { ...env, ...options.env },
    stdio: options.stdio ?? ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    options.watch?.(child, () => stderr);
  });
  options.watch?.(child, () => stderr);
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

/** The same while everybody waits. `input`: what the program reads from stdin. */
export function runGracewalk(args: readonly string[], input = '', cwd: string = ROOT): Ran {
  return spawnSync(process.execPath, [`${ROOT}/dist/cli/main.js`, ...args], {
    encoding: 'utf8',
    cwd,
    input,
    maxBuffer: 2 ** 28, // all built-in scenarios in JSON are more than the default, 1 MiB
  });
}

/**
 * What stderr says about a bad input, with the exit code; paths of this machine are named. Nothing but errors
 * may say `error:`, and no error has a stack.
 */
export async function complaint(
  args: readonly string[],
  folder: string,
  run: typeof gracewalk = gracewalk,
): Promise<string> {
  const { code, stdout, stderr } = await run(args);
  expect(stderr).not.toMatch(/^\s+at .*:\d+\)?$/m);
  expect(stdout).not.toContain('error:');
  return `${stderr.replaceAll(folder, 'FOLDER').replaceAll(process.cwd(), '.')}exit ${code}`;
}

/** A fixture's path, as one would type it at the root of the package. */
export function fixture(name: string): string {
  return `${FIXTURES}/${name}.ts`;
}

/** A page of the documentation. */
export function page(name: string): string {
  return readFileSync(`${ROOT}/${name}`, 'utf8');
}
