/** A thread of the pool: explores shards of the program that each batch names. */
import { workerData } from 'node:worker_threads';
import { serve } from '../src/cli/thread-pool.ts';
import { ShardRunner } from '../src/explore/shards.ts';
import { counted } from './counted.mjs';

const UNLIMITED = { runs: Infinity, steps: Infinity };
/** @type {import('node:worker_threads').MessagePort} */
const port = workerData.port;
let [program, runner] = ['', /** @type {ShardRunner | null} */ (null)];

port.on('message', (batch) => {
  if (!runner || program !== batch.job.what) {
    program = batch.job.what;
    runner = new ShardRunner(counted(program).build(), {});
  }
  const mine = runner;
  serve(
    batch,
    (shard) => mine.explore(shard, UNLIMITED),
    (answer) => port.postMessage(answer),
  );
});
