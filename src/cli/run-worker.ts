import { Worker } from 'node:worker_threads';
import { heapMegabytesFor } from './heap.ts';
import type { Job, Message, ReportedError, ShareRequest, WorkerInput } from './protocol.ts';
import { outOfMemory, reportError } from './report-error.ts';
import { shardThreads } from './shard-threads.ts';
import { displayName } from './source-lines.ts';

/** How a job came to its end; `died` if the worker did not get to say so itself. */
export type JobEnd =
  | { readonly kind: 'done' }
  | { readonly kind: 'abandoned' }
  | { readonly kind: 'died'; readonly error: ReportedError };

/** A job in progress. */
export interface RunningJob {
  readonly end: Promise<JobEnd>;
  /** Asks the search to stop and report what it knows. */
  stop(): void;
  /** Ends the thread whatever it does. */
  abandon(): void;
}

export type StartJob = (job: Job, onMessage: (message: Message) => void) => RunningJob;

/**
 * Who runs jobs. A search does not give way to an event loop, so a program that listens to Ctrl-C gives it a
 * thread; the tests of what is printed run hundreds of small jobs in their own.
 */
export const jobs: { start: StartJob } = { start: inItsOwnThread };

function inItsOwnThread(job: Job, onMessage: (message: Message) => void): RunningJob {
  const stop = new SharedArrayBuffer(4);
  const died = new SharedArrayBuffer(4);
  const memory = 'limits' in job ? job.limits.memory : undefined;
  const heapMegabytes = memory === undefined ? undefined : heapMegabytesFor(memory);
  const worker = new Worker(new URL('./worker.js', import.meta.url), {
    workerData: { job, stop, died } satisfies WorkerInput,
    ...(heapMegabytes === undefined
      ? {}
      : { resourceLimits: { maxOldGenerationSizeMb: heapMegabytes } }),
    // What a scenario prints is not part of the result.
    stdout: true,
  });
  worker.stdout.pipe(process.stderr, { end: false });
  let end: JobEnd | null = null;
  let loading = '';
  const threads = shardThreads(memory, heapMegabytes, (how) => {
    const error = 'code' in how ? killed(how.code) : causeOfDeath(how.error);
    end ??= { kind: 'died', error };
    Atomics.store(new Int32Array(died), 0, 1);
  });
  worker.on('message', (message: Message | ShareRequest) => {
    if (message.kind === 'loading') loading = message.file;
    else if (message.kind === 'share') threads.start(message.ports);
    else if (message.kind === 'done') end ??= { kind: 'done' };
    else onMessage(message);
  });
  worker.on('error', (error) => (end ??= { kind: 'died', error: causeOfDeath(error) }));
  return {
    end: new Promise((resolve) => {
      worker.on('exit', (code) => {
        const how = end ?? { kind: 'died', error: silentExit(code, loading) };
        void threads.stop().then(() => resolve(how));
      });
    }),
    stop: () => void Atomics.store(new Int32Array(stop), 0, 1),
    abandon: () => {
      end ??= { kind: 'abandoned' };
      void worker.terminate();
    },
  };
}

function causeOfDeath(error: unknown): ReportedError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ERR_WORKER_OUT_OF_MEMORY' ? outOfMemory() : reportError(error);
}

/** Node's exit code when nothing is left that could end an `await` at the top level. */
const UNSETTLED_AWAIT = 13;

function silentExit(code: number, loading: string): ReportedError {
  if (code !== UNSETTLED_AWAIT) return killed(code);
  return {
    code: 'E112',
    what: `${displayName(loading)} never finished loading`,
    details: {
      notes: ['it has an `await` at its top level that nothing ends'],
      help: 'a scenario file declares; it does not wait',
    },
    stack: null,
  };
}

function killed(code: number): ReportedError {
  return {
    code: null,
    what: `a thread of the search ended without a word (code ${code})`,
    details: {
      notes: ['what has a result was finished before; the rest was not checked'],
      help: 'run it again; if that does not help, please report it with the scenario',
    },
    stack: null,
  };
}
