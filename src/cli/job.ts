/** Loading scenarios and searching, for whoever runs a job: a thread of its own, or a test in its own. */
import { performance } from 'node:perf_hooks';
import type { MessagePort } from 'node:worker_threads';
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
  Job,
  MatrixJob,
  Message,
  ReplayJob,
  ShareRequest,
  WhyJob,
} from './protocol.ts';
import { replayJob } from './replay-run.ts';
import { reportError } from './report-error.ts';
import type { ShardJob } from './shard-threads.ts';
import { ThreadDied, ThreadPool } from './thread-pool.ts';
import { findVariant, planVariants } from './variants.ts';

const MS_BETWEEN_REPORTS = 250;

const now = (): number => performance.now();

/** What a job needs of where it runs. */
export interface Surroundings {
  readonly post: (message: Message | ShareRequest, moved?: readonly MessagePort[]) => void;
  readonly stopped: () => boolean;
  /** One Int32: not zero says that a thread which the search waits for has died. */
  readonly died: SharedArrayBuffer;
}

type Pool = ThreadPool<ShardJob, ShardAnswer>;

/** For one scenario; what a thread threw is thrown here, as it was reported there. */
function poolFor(pool: Pool, file: string): ShardPool {
  return {
    explore: (job, shards, here, stop) => pool.explore({ ...job, file }, shards, here, stop),
  };
}

function withModel({ file, scenario }: Loaded, model: MemoryModel): Loaded {
  return { file, scenario: underModel(scenario, model) };
}

/** Jobs of one thread. */
export class Work {
  /** The file that is being loaded, or was last. */
  last: string | null = null;
  private readonly around: Surroundings;

  constructor(around: Surroundings) {
    this.around = around;
  }

  async run(job: Job): Promise<void> {
    if (job.kind === 'check') await this.check(job);
    else if (job.kind === 'matrix') await this.matrix(job);
    else if (job.kind === 'why') await this.reasons(job);
    else if (job.kind === 'ask') await this.askAll(job);
    else if (job.kind === 'describe') await this.describe(job);
    else await this.replayOne(job);
  }

  readonly fail = (error: unknown, file: string | null, variant: string | null = null): void =>
    this.around.post({
      kind: 'failed',
      error: reportError(error, { file, variant }),
      file,
      variant,
    });

  private readonly loading = (file: string): void =>
    this.around.post({ kind: 'loading', file: (this.last = file) });

  private async check(job: CheckJob): Promise<void> {
    const pool = job.jobs > 1 ? this.threads(job.jobs - 1) : null;
    const loaded = await loadScenarios(job.files, this.fail, this.loading);
    const { model } = job;
    const asked = model === null ? loaded : loaded.map((each) => withModel(each, model));
    const planned = planVariants(asked, job.variants, (error) => this.fail(error, null));
    this.around.post({
      kind: 'planned',
      variants: planned.map(({ file, scenario, variant }) => ({
        file,
        scenario: scenario.id,
        variant,
      })),
    });
    for (const { file, scenario, variant } of planned) {
      if (this.around.stopped()) return;
      try {
        const asked = job.expect ? expecting(scenario, job.expect) : scenario;
        const result = checkVariant(asked, variant, {
          ...this.searchOptions(job, scenario, variant),
          pool: pool ? poolFor(pool, file) : undefined,
        });
        this.around.post({ kind: 'result', file, result });
      } catch (error) {
        if (error instanceof ThreadDied) return;
        this.fail(error, file, variant);
      }
    }
  }

  private threads(count: number): Pool {
    return new ThreadPool({
      threads: count,
      died: this.around.died,
      start: (ports) => this.around.post({ kind: 'share', ports }, ports),
    });
  }

  private async askAll(job: AskJob): Promise<void> {
    const options = (scenario: Scenario, variant: string): CheckOptions =>
      this.searchOptions(job, scenario, variant);
    const { fail, loading } = this;
    await ask(job, { ...this.around, fail, loading, options });
  }

  private async describe({ files }: DescribeJob): Promise<void> {
    for (const { scenario } of await loadScenarios(files, this.fail, this.loading)) {
      const { title = null, citation = null, story = null, variants } = scenario.definition;
      const exhibit = { id: scenario.id, title, citation, story, variants: Object.keys(variants) };
      this.around.post({ kind: 'exhibit', exhibit });
    }
  }

  private async matrix(job: MatrixJob): Promise<void> {
    const loaded = await loadScenarios(job.files, this.fail, this.loading);
    matrixRun(job, loaded, {
      ...this.around,
      fail: this.fail,
      options: (scenario, variant) => this.searchOptions(job, scenario, variant),
    });
  }

  private searchOptions(
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
      shouldStop: this.around.stopped,
      heapUsed: heapMeter(memory, now),
      onProgress: (progress) => {
        if (now() - reported < MS_BETWEEN_REPORTS) return;
        reported = now();
        this.around.post({ kind: 'progress', scenario: scenario.id, variant, progress });
      },
    };
  }

  private async reasons(job: WhyJob): Promise<void> {
    const [loaded] = await loadScenarios([job.file], this.fail, this.loading);
    if (!loaded) return;
    try {
      const declared = loaded.scenario;
      const scenario = job.model === null ? declared : underModel(declared, job.model);
      const variant = findVariant(scenario, job.variant);
      const { size, show, violation } = job;
      const options = {
        ...this.searchOptions(job, scenario, variant),
        size,
        show,
        kind: violation,
      };
      this.around.post({ kind: 'reasons', result: why(scenario, variant, options) });
    } catch (error) {
      this.fail(error, job.file);
    }
  }

  private async replayOne(job: ReplayJob): Promise<void> {
    const [loaded] = await loadScenarios([job.file], this.fail, this.loading);
    if (!loaded) return;
    try {
      this.around.post({
        kind: 'replayed',
        replayed: replayJob(loaded.scenario, job, this.around.stopped),
      });
    } catch (error) {
      this.fail(error, job.file);
    }
  }
}
