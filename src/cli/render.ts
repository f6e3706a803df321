import { renderDiagram, type DiagramOptions } from '../report/diagram.ts';
import { runJson, toJson } from '../report/json.ts';
import type { VariantResult } from '../scenario/result.ts';
import { renderCheck } from '../report/text.ts';
import { fold } from '../report/wrap.ts';
import type { Detail, Layout } from './options.ts';
import { ENGINE_VERSION } from './package.ts';
import type { Replayed, ReportedError } from './protocol.ts';
import { displayName, sourceLines } from './source-lines.ts';
import { painter } from './term.ts';

/** What an invocation writes to stdout, as text or as one JSON document. */
export interface RenderOptions {
  readonly width: number;
  readonly layout: Layout;
  readonly detail: Detail;
  readonly json?: boolean;
  readonly colored: boolean;
}

/** All that a check came to. */
export interface Findings {
  readonly results: readonly VariantResult[];
  /** For the replay command of a scenario that is not built in: its file, by scenario id. */
  readonly files: ReadonlyMap<string, string>;
  readonly errors: readonly ReportedError[];
  /** Variants that have no result: an error, or Ctrl-C came before. */
  readonly notChecked: number;
}

export function renderFindings(
  { results, files, errors, notChecked }: Findings,
  options: RenderOptions & { readonly showExpected: boolean },
): string {
  if (options.json) {
    const document = toJson(results, ENGINE_VERSION, sourceLines());
    const complete = errors.length === 0 && notChecked === 0;
    return asDocument({
      ...document,
      ok: document['ok'] === true && complete,
      notChecked,
      errors: errors.map(({ code, what, details }) => ({ code, what, ...details })),
    });
  }
  const text = renderCheck(results, {
    ...diagramOptions(options),
    painter: painter(options.colored),
    showExpected: options.showExpected,
    shorten: (file) => displayName(file),
  });
  const replayable = results.reduce((all, result) => withFile(all, result, files), text);
  // What was not looked at must not hide behind what was.
  const missing = notChecked === 0 ? '' : `Not checked: ${variants(notChecked)}.\n`;
  return replayable + missing;
}

/** A token knows its scenario's id, but not where a file of one's own is. */
function withFile(
  text: string,
  { scenario, token }: VariantResult,
  files: Findings['files'],
): string {
  const file = files.get(scenario);
  if (token === null || file === undefined) return text;
  return text.replaceAll(`'${token}'`, `'${token}' ${quoted(file)}`);
}

function quoted(file: string): string {
  return /^[\w./-]+$/.test(file) ? file : `'${file}'`;
}

export function renderReplay(
  { scenario, variant, token, run }: Replayed,
  options: RenderOptions,
): string {
  const { violation, waiting } = run;
  if (options.json) {
    const head = { schema: 'gracewalk.run/1', engine: ENGINE_VERSION, scenario, variant, token };
    return asDocument({ ...head, violation, ...runJson(run, sourceLines()) });
  }
  const kind = violation ? painter(options.colored).bad(violation.kind) : 'no violation';
  const lines = [
    `${scenario} / ${variant}: ${kind}`,
    ...(violation ? ['', fold(violation.message, options.width)] : []),
    renderDiagram(run, diagramOptions(options)).trimEnd(),
    ...(waiting.length > 0 ? ['', ...waiting.map((line) => `${line}.`)] : []),
  ];
  // The diagram is framed by blank lines, so that it can be selected and pasted.
  return `${lines.join('\n')}\n\n`;
}

function diagramOptions({ width, layout, detail }: RenderOptions): DiagramOptions {
  return { width, layout, detail, source: sourceLines() };
}

function asDocument(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function variants(count: number): string {
  return count === 1 ? '1 variant' : `${count} variants`;
}
