import { Worker } from 'node:worker_threads';
import { ThreadPool } from '../src/cli/thread-pool.ts';

/** Threads that explore shards of programs in test/zoo. @param {number} threads */
export function threadPool(threads) {
  const died = new SharedArrayBuffer(4);
  return new ThreadPool({
    threads,
    died,
    start: (ports) => {
      for (const port of ports) {
        new Worker(new URL('./shard-worker.mjs', import.meta.url), {
          workerData: { port },
          transferList: [port],
        });
      }
    },
  });
}
