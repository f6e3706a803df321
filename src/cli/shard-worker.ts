/** A thread that explores shards for the thread of the search (see thread-pool.ts). Runs from dist only. */
import { performance } from 'node:perf_hooks';
import { workerData } from 'node:worker_threads';
import { ELSEWHERE, passOf, type ShardAnswer } from '../scenario/pass.ts';
import type { Shard } from '../explore/shards.ts';
import { defaultMemoryLimit, heapMeter } from './heap.ts';
import { loadScenarios } from './load-scenarios.ts';
import { reportError } from './report-error.ts';
import type { ShardJob, ShardThreadInput } from './shard-threads.ts';
import { isStopped, serve, type Batch } from './thread-pool.ts';

type Explore = (shard: Shard, batch: Batch<ShardJob>) => ShardAnswer;

const { port, memory = defaultMemoryLimit() } = workerData as ShardThreadInput;
const heapUsed = heapMeter(memory, () => performance.now());
/** What is needed last is kept: a search sends all its batches, then the next one comes. */
let known: { readonly key: string; readonly explore: Promise<Explore> } | null = null;

async function prepare({ file, ...job }: ShardJob): Promise<Explore> {
  const rethrow = (error: unknown): void => {
    throw error;
  };
  const [loaded] = await loadScenarios([file], rethrow, () => {});
  if (!loaded) throw new Error(`${file} has no scenario`);
  const explore = passOf(loaded.scenario, job).runner();
  return (shard, batch) => {
    const limit = (): string | null => {
      if (isStopped(batch)) return ELSEWHERE;
      return heapUsed() > memory ? 'memory' : null;
    };
    return explore(shard, { runs: Infinity, steps: Infinity, watch: limit });
  };
}

async function answer(batch: Batch<ShardJob>): Promise<void> {
  const key = JSON.stringify(batch.job);
  if (known?.key !== key) known = { key, explore: prepare(batch.job) };
  const explore = await known.explore;
  serve(
    batch,
    (shard) => explore(shard, batch),
    (given) => {
      const { at } = given;
      const { file, variant } = batch.job;
      port.postMessage(
        'error' in given ? { at, error: reportError(given.error, { file, variant }) } : given,
      );
    },
  );
}

port.on('message', (batch: Batch<ShardJob>) => void answer(batch));
