import { Writable } from 'node:stream';
import type * as job from '../../src/cli/job.ts';
import type { Message, ShareRequest } from '../../src/cli/protocol.ts';
import type * as running from '../../src/cli/run.ts';
import type * as workers from '../../src/cli/run-worker.ts';
import * as spawned from './gracewalk.ts';
import { ROOT, type Outcome, type RunOptions } from './gracewalk.ts';

export { FIXTURES, ROOT, fixture, page, type Outcome } from './gracewalk.ts';

/**
 * The built program in this process and this thread: the same arguments, bytes and exit code as of a process of
 * its own (`gracewalk.ts`), in a tenth of the time. For what is printed. Signals, pipes, threads, memory,
 * standard input and files that change between two runs need a process.
 */

const dist = (path: string): string => `${ROOT}/dist/cli/${path}`;
const { run } = (await import(dist('run.js'))) as typeof running;
const { Work } = (await import(dist('job.js'))) as typeof job;
const { jobs } = (await import(dist('run-worker.js'))) as typeof workers;

jobs.start = (asked, onMessage) => {
  let stopped = false;
  const work = new Work({
    // As between threads: what cannot be cloned throws.
    post: (message: Message | ShareRequest) => {
      if (message.kind === 'share') throw new Error('threads need a process');
      onMessage(structuredClone(message));
    },
    stopped: () => stopped,
    died: new SharedArrayBuffer(4),
  });
  return {
    end: work.run(asked).then(() => ({ kind: 'done' as const })),
    stop: () => (stopped = true),
    abandon: () => {},
  };
};

/** Somebody who listens to a stream of the process. */
class Listener extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('utf8');
    done();
  }
}

/** One after the other: there is one stdout. */
let free: Promise<unknown> = Promise.resolve();

/** With options other than a folder it gets a process all the same. */
export function gracewalk(
  args: readonly string[],
  { cwd = ROOT, ...options }: RunOptions = {},
): Promise<Outcome> {
  if (Object.keys(options).length > 0) return spawned.gracewalk(args, { cwd, ...options });
  const outcome = free.then(() => here(args, cwd));
  free = outcome.catch(() => {});
  return outcome;
}

async function here(args: readonly string[], cwd: string): Promise<Outcome> {
  const folder = process.cwd();
  const own = { stdout: process.stdout, stderr: process.stderr };
  const heard = { stdout: new Listener(), stderr: new Listener() };
  const { NO_COLOR, FORCE_COLOR } = process.env;
  delete process.env.NO_COLOR;
  delete process.env.FORCE_COLOR;
  speakTo(heard);
  process.chdir(cwd);
  try {
    const code = await run(args);
    return { code, stdout: heard.stdout.text, stderr: heard.stderr.text };
  } finally {
    speakTo(own);
    process.chdir(folder);
    if (NO_COLOR !== undefined) process.env.NO_COLOR = NO_COLOR;
    if (FORCE_COLOR !== undefined) process.env.FORCE_COLOR = FORCE_COLOR;
  }
}

function speakTo(streams: { readonly stdout: Writable; readonly stderr: Writable }): void {
  for (const [name, value] of Object.entries(streams)) {
    Object.defineProperty(process, name, { value, configurable: true, writable: true });
  }
}

export function complaint(args: readonly string[], folder: string): Promise<string> {
  return spawned.complaint(args, folder, gracewalk);
}
