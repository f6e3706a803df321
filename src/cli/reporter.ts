import { jsonLine, resultLine, startLine } from '../report/json-lines.ts';
import { renderQuiet } from '../report/quiet.ts';
import type { SourceLines } from '../scenario/result.ts';
import type { Findings } from './findings.ts';
import type { Form } from './options.ts';
import { ENGINE_VERSION } from './package.ts';
import { Interval } from './progress.ts';
import type { Message } from './protocol.ts';
import {
  checkDocument,
  checkKtap,
  checkText,
  errorJson,
  type CheckRenderOptions,
} from './render.ts';
import { sourceLines } from './source-lines.ts';

/**
 * What a check writes to stdout: as it happens, and at its end. All forms are views of the same findings; an
 * interrupted check ends like any other, with what is known.
 */
export interface Reporter {
  begin(): string;
  hear(message: Message): string;
  end(findings: Findings): string;
}

export function reporterOf(
  form: Form,
  options: CheckRenderOptions & { readonly progress?: number | 'off' },
): Reporter {
  switch (form) {
    case 'text':
      return atTheEnd((findings) => checkText(findings, options));
    case 'json':
      return atTheEnd(checkDocument);
    case 'ktap':
      return atTheEnd((findings) => checkKtap(findings, options));
    case 'quiet':
      return atTheEnd((findings) => renderQuiet(findings.outcomes()));
    case 'json-lines':
      return new LinesReporter(options.progress);
  }
}

function atTheEnd(end: (findings: Findings) => string): Reporter {
  return { begin: () => '', hear: () => '', end };
}

/** Seconds between two progress objects, if nobody said. */
const USUAL_SECONDS = 2;

class LinesReporter implements Reporter {
  private readonly source: SourceLines = sourceLines();
  private readonly interval: Interval | null;

  constructor(asked: number | 'off' | undefined) {
    this.interval = asked === 'off' ? null : new Interval(asked ?? USUAL_SECONDS);
  }

  begin(): string {
    return startLine(ENGINE_VERSION);
  }

  hear(message: Message): string {
    switch (message.kind) {
      case 'planned':
        return jsonLine('plan', {
          variants: message.variants.map(({ scenario, variant }) => ({ scenario, variant })),
        });
      case 'progress':
        if (this.interval?.passed(performance.now()) !== true) return '';
        return jsonLine('progress', {
          scenario: message.scenario,
          variant: message.variant,
          ...message.progress,
        });
      case 'result':
        return resultLine(message.result, this.source);
      case 'failed':
        return jsonLine('error', errorJson(message.error));
      case 'loading':
      case 'replayed':
      case 'asked':
      case 'cell':
      case 'exhibit':
      case 'reasons':
      case 'done':
        return '';
    }
  }

  end({ ok, notChecked }: Findings): string {
    return jsonLine('end', { ok, notChecked });
  }
}
