import { MessageChannel, receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import type { Shard } from '../explore/shards.ts';

/**
 * Shares batches of shards out among threads.
 *
 * The search never gives way to an event loop, so it waits for the other threads on shared memory and reads
 * their answers synchronously. Every thread, this one too, takes the next shard of the batch until none is
 * left; answers are put in the order of the batch, so who took which does not show.
 */
export interface Batch<Job> {
  readonly job: Job;
  readonly shards: readonly Shard[];
  /** A fresh one for every batch: a thread that comes late finds nothing left to take. */
  readonly state: SharedArrayBuffer;
}

/** Indices into a batch's state: the next shard to take, how many are answered, "stop". */
const NEXT = 0;
const ANSWERED = 1;
const STOP = 2;
const STATE_BYTES = 12;

type Answer<A> = { readonly at: number } & ({ readonly answer: A } | { readonly error: unknown });

export function isStopped(batch: Batch<unknown>): boolean {
  return Atomics.load(new Int32Array(batch.state), STOP) !== 0;
}

/** Takes shards of a batch until none is left. */
export function serve<A>(
  { shards, state }: Batch<unknown>,
  explore: (shard: Shard) => A,
  give: (answer: Answer<A>) => void,
): void {
  const shared = new Int32Array(state);
  const take = (): number => Atomics.add(shared, NEXT, 1);
  for (let at = take(); at < shards.length; at = take()) {
    try {
      give({ at, answer: explore(shards[at] as Shard) });
    } catch (error) {
      give({ at, error });
    }
    Atomics.add(shared, ANSWERED, 1);
    Atomics.notify(shared, ANSWERED);
  }
}

/** What another thread threw, as it reported it. */
export class ThrownElsewhere extends Error {
  readonly report: unknown;
  constructor(report: unknown) {
    super('thrown in another thread');
    this.report = report;
  }
}

/** The main thread knows why, and says so. */
export class ThreadDied extends Error {}

/** How often a thread that only waits looks whether it should stop, or another one has died. */
const POLL_MS = 50;

export interface PoolOptions {
  /** Threads besides this one. */
  readonly threads: number;
  /** Starts them, when they are needed first, each with its end of a channel. */
  readonly start: (ports: readonly MessagePort[]) => void;
  /** One Int32: not zero once one of them has died. */
  readonly died: SharedArrayBuffer;
}

export class ThreadPool<Job, A> {
  private readonly options: PoolOptions;
  private ports: readonly MessagePort[] = [];

  constructor(options: PoolOptions) {
    this.options = options;
  }

  /**
   * Answers in the order of the shards; the first error in that order is thrown. `stop` is asked now and
   * then: true ends the batch early, with what is known by then.
   */
  explore(job: Job, shards: readonly Shard[], here: (shard: Shard) => A, stop: () => boolean): A[] {
    this.startOnce();
    const batch: Batch<Job> = { job, shards, state: new SharedArrayBuffer(STATE_BYTES) };
    const shared = new Int32Array(batch.state);
    const answers: Answer<A>[] = [];
    const obey = (): void => {
      if (stop()) Atomics.store(shared, STOP, 1);
    };
    for (const port of this.ports) port.postMessage(batch);
    serve(batch, here, (answer) => {
      answers[answer.at] = answer;
      obey();
    });
    for (;;) {
      const answered = Atomics.load(shared, ANSWERED);
      this.refuseDead();
      if (answered === shards.length) break;
      Atomics.wait(shared, ANSWERED, answered, POLL_MS);
      obey();
    }
    this.collect(answers);
    return answers.map((given) => {
      if ('error' in given) throw given.error;
      return given.answer;
    });
  }

  private refuseDead(): void {
    const died = Atomics.load(new Int32Array(this.options.died), 0) !== 0;
    if (died) throw new ThreadDied();
  }

  private collect(answers: Answer<A>[]): void {
    for (const port of this.ports) {
      for (;;) {
        const received = receiveMessageOnPort(port);
        if (!received) break;
        const answer = received.message as Answer<A>;
        answers[answer.at] =
          'error' in answer ? { at: answer.at, error: new ThrownElsewhere(answer.error) } : answer;
      }
    }
  }

  private startOnce(): void {
    if (this.ports.length > 0) return;
    const channels = Array.from({ length: this.options.threads }, () => new MessageChannel());
    this.ports = channels.map(({ port1 }) => port1);
    this.options.start(channels.map(({ port2 }) => port2));
  }
}
