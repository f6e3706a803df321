import { Worker, type MessagePort } from 'node:worker_threads';
import type { PassJob } from '../scenario/pass.ts';

/**
 * The threads that a search shares shards with. The main thread starts them when the search asks for them:
 * it is the one that hears if one of them dies while the search waits.
 */
export interface ShardThreadInput {
  readonly port: MessagePort;
  /** Bytes of heap; a thread that needs more ends the search as inconclusive. */
  readonly memory: number | undefined;
}

/** What a batch is about: enough to build the same program in another thread. */
export interface ShardJob extends PassJob {
  readonly file: string;
}

export interface ShardThreads {
  start(ports: readonly MessagePort[]): void;
  stop(): Promise<void>;
}

/** `died` hears of the first thread that ends by itself: what it threw, or with which code it ended. */
export function shardThreads(
  memory: number | undefined,
  heapMegabytes: number | undefined,
  died: (how: { readonly error: unknown } | { readonly code: number }) => void,
): ShardThreads {
  let workers: Worker[] = [];
  let ending = false;
  const end = (how: Parameters<typeof died>[0]): void => {
    if (ending) return;
    ending = true;
    died(how);
  };
  return {
    start: (ports) => {
      workers = ports.map((port) => {
        const worker = new Worker(new URL('./shard-worker.js', import.meta.url), {
          workerData: { port, memory } satisfies ShardThreadInput,
          transferList: [port],
          ...(heapMegabytes === undefined
            ? {}
            : { resourceLimits: { maxOldGenerationSizeMb: heapMegabytes } }),
          stdout: true,
        });
        worker.stdout.pipe(process.stderr, { end: false });
        worker.on('error', (error) => end({ error }));
        worker.on('exit', (code) => end({ code }));
        return worker;
      });
    },
    stop: async () => {
      ending = true;
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
