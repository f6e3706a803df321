import type { RunningJob } from './run-worker.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/** A search looks at its flag many times a second; a scenario that loops without a yield never does. */
const MS_OF_PATIENCE = 10_000;

export interface Interruption {
  readonly happened: boolean;
  dispose(): void;
}

/** The first Ctrl-C asks the search what it knows, the second ends it. */
export function interruptible(job: RunningJob, onInterrupt: () => void): Interruption {
  let happened = false;
  let timer: NodeJS.Timeout | undefined;
  const handle = (): void => {
    if (happened) {
      job.abandon();
      return;
    }
    happened = true;
    onInterrupt();
    job.stop();
    timer = setTimeout(() => job.abandon(), MS_OF_PATIENCE);
  };
  for (const signal of SIGNALS) process.on(signal, handle);
  return {
    get happened() {
      return happened;
    },
    dispose() {
      clearTimeout(timer);
      for (const signal of SIGNALS) process.off(signal, handle);
    },
  };
}
