import type { ErrorDetails, GracewalkError } from '../base/errors.ts';
import { exitCodeOfError, worst, type ExitCode } from './exit-code.ts';
import { interruptible } from './interrupt.ts';
import { Output } from './output.ts';
import { ProgressDisplay } from './progress.ts';
import type { Job, Message, ReportedError } from './protocol.ts';
import { printError } from './print-error.ts';
import { jobs, type JobEnd, type RunningJob } from './run-worker.ts';
import { colorWanted, type ColorMode } from './term.ts';

export interface CommonOptions {
  readonly color: ColorMode;
  readonly progress?: number | 'off';
  readonly debug?: boolean;
}

/** One invocation: its streams, what went wrong, and the code that it will return. */
export class Session {
  readonly output: Output;
  /** Whether results on stdout are coloured. */
  readonly color: boolean;
  private readonly debug: boolean;
  private readonly progress: ProgressDisplay;
  private readonly errorColor: boolean;
  private readonly codes: ExitCode[] = [];
  private job: RunningJob | null = null;

  constructor(options: CommonOptions) {
    const { stdout, stderr, env } = process;
    this.debug = options.debug ?? false;
    this.color = colorWanted(options.color, env, stdout.isTTY === true);
    this.errorColor = colorWanted(options.color, env, stderr.isTTY === true);
    this.progress = new ProgressDisplay(stderr, options.progress);
    this.output = new Output(stdout, () => this.job?.stop());
    // Nobody listens to warnings any more; the result may still be wanted.
    stderr.on('error', () => {});
  }

  /** Runs a job to its end, showing progress on stderr; `onMessage` hears everything. */
  async run(job: Job, onMessage: (message: Message) => void): Promise<JobEnd> {
    const running = jobs.start(job, (message) => {
      if (message.kind === 'progress') this.progress.show(message, performance.now());
      onMessage(message);
    });
    this.job = running;
    // Nobody will read the result.
    if (this.output.closed || this.output.error) running.stop();
    const interruption = interruptible(running, () => {
      this.codes.push(3);
      if (process.stderr.isTTY) this.warn('stopping; Ctrl-C again stops at once');
    });
    const end = await running.end;
    interruption.dispose();
    this.progress.clear();
    if (end.kind === 'abandoned')
      this.warn('stopped in the middle of a step: a loop without `yield*`?');
    return end;
  }

  /** An outcome that the exit code must tell. */
  note(code: ExitCode): void {
    this.codes.push(code);
  }

  warn(text: string): void {
    this.progress.clear();
    process.stderr.write(`${text}\n`);
  }

  fail(error: ReportedError): void {
    this.codes.push(error.memory ? 3 : exitCodeOfError(error.code));
    this.warn(printError(error, { color: this.errorColor, debug: this.debug }));
  }

  finish(): ExitCode {
    if (this.output.error) this.fail(asReported(this.output.error));
    return worst(this.codes);
  }
}

function asReported(error: GracewalkError): ReportedError {
  const details: ErrorDetails = error.details;
  return { code: error.code, what: error.message, details, stack: error.stack ?? null };
}
