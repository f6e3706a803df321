/**
 * The thread that loads scenarios and searches. Runs from dist only, as `new Worker('./worker.js')`;
 * protocol.ts is all it shares with the main thread.
 */
import { performance } from 'node:perf_hooks';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { GracewalkError } from '../base/errors.ts';
import { parseStack } from '../base/site.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import { checkVariant, type CheckOptions } from '../scenario/check.ts';
import type { ShardAnswer, ShardPool } from '../scenario/pass.ts';
import { underModel, type Scenario } from '../scenario/scenario.ts';
import { why } from '../why/why.ts';
import { ask } from './ask-run.ts';
import { expecting } from './expectation.ts';
import { defaultMemoryLimit, heapMeter } from './heap.ts';
import { loadScenarios, type Loaded } from './load-scenarios.ts';
import { matrixRun } from './matrix-run.ts';
import type {
  AskJob,
  CheckJob,
  DescribeJob,
  MatrixJob,
  Message,
  ReplayJob,
  ShareRequest,
  WhyJob,
  WorkerInput,
} from './protocol.ts';
import { replayJob } from './replay-run.ts';
import { reportError } from './report-error.ts';
import type { ShardJob } from './shard-threads.ts';
import { ThreadDied, ThreadPool } from './thread-pool.ts';
import { findVariant, planVariants } from './variants.ts';

const MS_BETWEEN_REPORTS = 250;

const input = workerData as WorkerInput;
const stopFlag = new Int32Array(input.stop);
const stopped = (): boolean => Atomics.load(stopFlag, 0) !== 0;
const now = (): number => performance.now();
const post = (message: Message | ShareRequest, moved: readonly MessagePort[] = []): void =>
  parentPort?.postMessage(message, moved);
let last: string | null = null;
const loading = (file: string): void => post({ kind: 'loading', file: (last = file) });
const fail = (error: unknown, file: string | null, variant: string | null = null): void =>
  post({ kind: 'failed', error: reportError(error, { file, variant }), file, variant });

async function check(job: CheckJob): Promise<void> {
  const pool = job.jobs > 1 ? threads(job.jobs - 1) : null;
  const loaded = await loadScenarios(job.files, fail, loading);
  const { model } = job;
  const asked = model === null ? loaded : loaded.map((each) => withModel(each, model));
  const planned = planVariants(asked, job.variants, (error) => fail(error, null));
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
      const result = checkVariant(asked, variant, {
        ...searchOptions(job, scenario, variant),
        pool: pool ? poolFor(pool, file) : undefined,
      });
      post({ kind: 'result', file, result });
    } catch (error) {
      if (error instanceof ThreadDied) return;
      fail(error, file, variant);
    }
  }
}

type Pool = ThreadPool<ShardJob, ShardAnswer>;

function threads(count: number): Pool {
  return new ThreadPool({
    threads: count,
    died: input.died,
    start: (ports) => post({ kind: 'share', ports }, ports),
  });
}

/** For one scenario; what a thread threw is thrown here, as it was reported there. */
function poolFor(pool: Pool, file: string): ShardPool {
  return {
    explore: (job, shards, here, stop) => pool.explore({ ...job, file }, shards, here, stop),
  };
}

function withModel({ file, scenario }: Loaded, model: MemoryModel): Loaded {
  return { file, scenario: underModel(scenario, model) };
}

async function askAll(job: AskJob): Promise<void> {
  const options = (scenario: Scenario, variant: string): CheckOptions =>
    searchOptions(job, scenario, variant);
  await ask(job, { fail, loading, stopped, options, post });
}

async function describe({ files }: DescribeJob): Promise<void> {
  for (const { scenario } of await loadScenarios(files, fail, loading)) {
    const { title = null, citation = null, story = null, variants } = scenario.definition;
    const exhibit = { id: scenario.id, title, citation, story, variants: Object.keys(variants) };
    post({ kind: 'exhibit', exhibit });
  }
}

async function matrix(job: MatrixJob): Promise<void> {
  const loaded = await loadScenarios(job.files, fail, loading);
  matrixRun(job, loaded, {
    post,
    fail,
    stopped,
    options: (scenario, variant) => searchOptions(job, scenario, variant),
  });
}

function searchOptions(
  job: Pick<CheckJob, 'limits'> & Partial<Pick<CheckJob, 'certify' | 'hunt'>>,
  scenario: Scenario,
  variant: string,
): CheckOptions {
  const memory = job.limits.memory ?? defaultMemoryLimit();
  let reported = now();
  return {
    limits: { ...job.limits, memory },
    certify: job.certify ?? false,
    hunt: job.hunt,
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

async function reasons(job: WhyJob): Promise<void> {
  const [loaded] = await loadScenarios([job.file], fail, loading);
  if (!loaded) return;
  try {
    const declared = loaded.scenario;
    const scenario = job.model === null ? declared : underModel(declared, job.model);
    const variant = findVariant(scenario, job.variant);
    const { size, show, violation } = job;
    const options = { ...searchOptions(job, scenario, variant), size, show, kind: violation };
    post({ kind: 'reasons', result: why(scenario, variant, options) });
  } catch (error) {
    fail(error, job.file);
  }
}

async function replayOne(job: ReplayJob): Promise<void> {
  const [loaded] = await loadScenarios([job.file], fail, loading);
  if (!loaded) return;
  try {
    post({ kind: 'replayed', replayed: replayJob(loaded.scenario, job, stopped) });
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

// What a timer or a promise of a scenario's throws has nobody above it.
process.on('uncaughtException', (error) => fail(error, last));

async function work(): Promise<void> {
  const { job } = input;
  if (job.kind === 'check') await check(job);
  else if (job.kind === 'matrix') await matrix(job);
  else if (job.kind === 'why') await reasons(job);
  else if (job.kind === 'ask') await askAll(job);
  else if (job.kind === 'describe') await describe(job);
  else await replayOne(job);
}

await work();
await new Promise((resolve) => void setImmediate(resolve)); // for rejections that nobody handled
post({ kind: 'done' });
