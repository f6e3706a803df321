/**
 * The thread that loads scenarios and searches. Runs from dist only, as `new Worker('./worker.js')`;
 * protocol.ts is all it shares with the main thread.
 */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { GracewalkError } from '../base/errors.ts';
import { parseStack } from '../base/site.ts';
import { Work } from './job.ts';
import type { Message, ShareRequest, WorkerInput } from './protocol.ts';

const { job, stop, died } = workerData as WorkerInput;
const stopFlag = new Int32Array(stop);
const post = (message: Message | ShareRequest, moved: readonly MessagePort[] = []): void =>
  parentPort?.postMessage(message, moved);
const work = new Work({ post, died, stopped: () => Atomics.load(stopFlag, 0) !== 0 });

// A scenario that ends the process would take the results of the others with it.
process.exit = () => {
  throw new GracewalkError('E112', 'the scenario called process.exit()', {
    site: parseStack(new Error().stack ?? '')[1],
    help: 'a scenario file declares; it does not end the program',
  });
};

// What a timer or a promise of a scenario's throws has nobody above it.
process.on('uncaughtException', (error) => work.fail(error, work.last));

await work.run(job);
await new Promise((resolve) => void setImmediate(resolve)); // for rejections that nobody handled
post({ kind: 'done' });
