/**
 * The thread that loads scenarios and searches. Runs from dist only, as `new Worker('./worker.js')`;
 * protocol.ts is all it shares with the main thread.
 */
import { performance } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import { GracewalkError } from '../base/errors.ts';
import { parseStack } from '../base/site.ts';
import { checkVariant, type CheckOptions } from '../scenario/check.ts';
import type { Scenario } from '../scenario/scenario.ts';
import { expecting } from './expectation.ts';
import { defaultMemoryLimit, heapMeter } from './heap.ts';
import { loadScenarios } from './load-scenarios.ts';
import type { CheckJob, Message, ReplayJob, WorkerInput } from './protocol.ts';
import { replay } from './replay-run.ts';
import { reportError } from './report-error.ts';
import { planVariants } from './variants.ts';

const MS_BETWEEN_REPORTS = 250;

const input = workerData as WorkerInput;
const stopFlag = new Int32Array(input.stop);
const stopped = (): boolean => Atomics.load(stopFlag, 0) !== 0;
const now = (): number => performance.now();
const post = (message: Message): void => parentPort?.postMessage(message);
const loading = (file: string): void => post({ kind: 'loading', file });
const fail = (error: unknown, file: string | null, variant: string | null = null): void =>
  post({ kind: 'failed', error: reportError(error, { file, variant }), file, variant });

async function check(job: CheckJob): Promise<void> {
  const loaded = await loadScenarios(job.files, fail, loading);
  const planned = planVariants(loaded, job.variants, (error) => fail(error, null));
  post({
    kind: 'planned',
    variants: planned.map(({ file, scenario, variant }) => ({
      file,
      scenario: scenario.id,
      variant,
    })),
  });
  for (const { file, scenario, variant } of planned) {
    if (stopped()) return;
    try {
      const asked = job.expect ? expecting(scenario, job.expect) : scenario;
      const result = checkVariant(asked, variant, searchOptions(job, scenario, variant));
      post({ kind: 'result', file, result });
    } catch (error) {
      fail(error, file, variant);
    }
  }
}

function searchOptions(job: CheckJob, scenario: Scenario, variant: string): CheckOptions {
  const memory = job.limits.memory ?? defaultMemoryLimit();
  let reported = now();
  return {
    limits: { ...job.limits, memory },
    now,
    shouldStop: stopped,
    heapUsed: heapMeter(memory, now),
    onProgress: (progress) => {
      if (now() - reported < MS_BETWEEN_REPORTS) return;
      reported = now();
      post({ kind: 'progress', scenario: scenario.id, variant, progress });
    },
  };
}

async function replayOne(job: ReplayJob): Promise<void> {
  const [loaded] = await loadScenarios([job.file], fail, loading);
  if (!loaded) return;
  try {
    post({ kind: 'replayed', replayed: replay(loaded.scenario, job.token) });
  } catch (error) {
    fail(error, job.file);
  }
}

// A scenario that ends the process would take the results of the others with it.
process.exit = () => {
  throw new GracewalkError('E112', 'the scenario called process.exit()', {
    site: parseStack(new Error().stack ?? '')[1],
    help: 'a scenario file declares; it does not end the program',
  });
};

await (input.job.kind === 'check' ? check(input.job) : replayOne(input.job));
post({ kind: 'done' });
