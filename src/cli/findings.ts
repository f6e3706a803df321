import type { ScenarioOutcomes, Outcome, Outcomes } from '../report/outcome.ts';
import type { VariantResult } from '../scenario/result.ts';
import { SCENARIO_FOLDER } from './package.ts';
import type { Message, PlannedVariant, ReportedError } from './protocol.ts';
import { displayName } from './source-lines.ts';

type Failure = Extract<Message, { kind: 'failed' }>;

/** What is known of a check so far: at any moment, also when it ends before its time. */
export class Findings {
  planned: readonly PlannedVariant[] = [];
  readonly results: VariantResult[] = [];
  readonly failures: Failure[] = [];
  /** For the replay command of a scenario that is not built in: its file, by scenario id. */
  readonly files: Map<string, string> = new Map();

  hear(message: Message): void {
    if (message.kind === 'planned') this.planned = message.variants;
    if (message.kind === 'failed') this.failures.push(message);
    if (message.kind !== 'result') return;
    this.results.push(message.result);
    const { file, result } = message;
    if (!file.startsWith(SCENARIO_FOLDER)) this.files.set(result.scenario, displayName(file));
  }

  get errors(): ReportedError[] {
    return this.failures.map(({ error }) => error);
  }

  /** Variants that have no result: an error, or the end of the check, came before. */
  get notChecked(): number {
    return Math.max(0, this.planned.length - this.results.length);
  }

  /** Everything was looked at, and is as declared. */
  get ok(): boolean {
    const complete = this.failures.length === 0 && this.notChecked === 0;
    return complete && this.results.every(({ ok }) => ok);
  }

  outcomes(): Outcomes {
    const byScenario = new Map<string, Outcome[]>();
    for (const planned of this.planned) {
      const outcomes = byScenario.get(planned.scenario) ?? [];
      byScenario.set(planned.scenario, outcomes);
      outcomes.push(this.outcomeOf(planned));
    }
    return {
      scenarios: [...byScenario].map(([scenario, outcomes]): ScenarioOutcomes => ({
        scenario,
        outcomes,
      })),
      refusals: this.failures
        .filter(({ variant }) => variant === null)
        .map(({ file, error }) => ({
          about: file === null ? 'gracewalk' : displayName(file),
          error,
        })),
    };
  }

  private outcomeOf({ file, scenario, variant }: PlannedVariant): Outcome {
    const result = this.results.find(
      (each) => each.scenario === scenario && each.variant === variant,
    );
    if (result) return { kind: 'result', variant, result };
    const failure = this.failures.find((each) => each.file === file && each.variant === variant);
    return failure
      ? { kind: 'error', variant, error: failure.error }
      : { kind: 'not-checked', variant };
  }
}
